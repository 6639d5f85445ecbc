"""The folder that an edit works in until it commits, and the note there that tells its runs apart.

    .shardpack/tmp/append-5f3a9c01/edit.json    {"tag": "g000002-0c4d...", "commits": null, "totals": {}}
    .shardpack/tmp/append-5f3a9c01/...          what the edit keeps for a run that continues it, such as its journal

The folder is named by command, input and options, so that the same command finds it again, also when another edit came
in between. Folders of edits that were killed lie side by side, and stop neither another edit nor a packer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from xxhash import xxh3_64_intdigest

from shardpack.commit.target import Target
from shardpack.format.layout import WORK_FOLDER, edit_tag

EditCommand = Literal[
    "append", "attach", "delete", "detach", "gc", "merge", "relabel", "repair", "split", "table"
]  # fmt: skip
_FOLDER = re.compile(
    rf"({re.escape(WORK_FOLDER)}/(?:append|attach|delete|detach|gc|merge|relabel|repair|split|table)-[0-9a-f]{{8}})/",
    re.ASCII,
)
_TAG = re.compile(r"g[0-9]{6,18}-[0-9a-f]{8}", re.ASCII)
NOTE = "edit.json"
CLAIM = "claim"  # in a bucket: which process works in the folder, the one that began last
# Commands that take many writes, so that two equal runs in a bucket could meet: see `EditTransaction`.
CLAIMING = frozenset(("append", "relabel", "repair"))


@dataclass(frozen=True, slots=True)
class EditNote:
    """What an edit notes in its folder.

    Attributes:
        tag: Part of the names of all files that it makes: the generation that it was to make, and a hash.
        commits: CRC32C of the manifest that it was about to commit, and its generation; None until then.
        totals: JSON values that the command reports if it is killed before it could clean up.
    """

    tag: str
    commits: tuple[int, int] | None = None
    totals: Mapping[str, Any] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        return json.dumps({"tag": self.tag, "commits": self.commits, "totals": dict(self.totals)}).encode()


def edit_folder(command: EditCommand, run_digest: str) -> str:
    """Return the folder of an edit; the same for equal commands, inputs and options."""
    return f"{WORK_FOLDER}/{command}-{_hash(f'{command} {run_digest}') & 0xFFFFFFFF:08x}"


def new_tag(command: EditCommand, run_digest: str, *, generation: int, parent_crc32c: int) -> str:
    """Return the tag of an edit that is to make a generation."""
    return edit_tag(generation, _hash(f"{parent_crc32c:08x} {command} {run_digest}"))


def folder_of_edit(name: str) -> str | None:
    """Return the folder of the edit that a file is unfinished work of; None if it is not that of an edit."""
    match = _FOLDER.match(name)
    return match[1] if match else None


def read_note(target: Target, folder: str) -> EditNote | None:
    """Return the note in the folder of an edit; None if it is missing or damaged."""
    with suppress(ValueError, KeyError, TypeError):
        value = json.loads(target.read(f"{folder}/{NOTE}") or b"")
        if _TAG.fullmatch(value["tag"]):
            commits = value["commits"]
            return EditNote(value["tag"], commits and (int(commits[0]), int(commits[1])), dict(value["totals"]))
    return None


def _hash(text: str) -> int:
    return xxh3_64_intdigest(text.encode("utf-8", "backslashreplace"))
