"""The journal of an unfinished run: one entry per finished shard, in the work folder.

OUT/.shardpack/tmp/shard-000003.tar.done.json    {"input": "9f0c...", "by": "5f3a...", "shard": {"name": ...}}
OUT/.shardpack/tmp/parts/shard-...done.json      the same, of a run whose parts several processes make
OUT/.shardpack/tmp/<note>.json                   what the command notes for itself: its plan, for example
OUT/.shardpack/run.json                          {"run": "77ab...", "totals": {}}: digest of the whole run; deleted last

An entry counts only if its input digest equals that of the current run, so that no shard made from other input is
reused. The journal holds digests and shards only: no location, no option, no secret.
`by` distinguishes the entries of processes that write to the same bucket.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shardpack.commit.lease import LEASE_NAME
from shardpack.commit.scratch import flat_name
from shardpack.commit.target import Target
from shardpack.format.layout import RUN_PATH, WORK_FOLDER, is_packer_name
from shardpack.format.shard_info import ShardInfo, info_of, record_of

PARTS_FOLDER = f"{WORK_FOLDER}/parts"
PLAN_PATH = f"{PARTS_FOLDER}/plan.json"

_ENDING = ".done.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished shard.

    Attributes:
        info: The shard.
        input_digest: Digest of the input that it was made from.
        more: JSON values that the caller needs when it resumes.
    """

    info: ShardInfo
    input_digest: str
    more: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """Reads and writes the entries of a target."""

    def __init__(self, target: Target, *, owns_tars: bool = True, folder: str = WORK_FOLDER) -> None:
        """Use the journal of a target.

        Args:
            target: Where the entries are.
            owns_tars: False if its tars are the user's, perhaps at another location.
            folder: Folder of the entries.
        """
        self._target, self._owns_tars, self._folder = target, owns_tars, folder
        self._process = secrets.token_hex(8)
        self._added: list[str] = []

    def add(self, entry: Entry) -> None:
        """Write an entry, replacing an earlier one of the same shard. Safe in threads."""
        name = entry_name(entry.info.name, self._folder)
        shard, more = record_of(entry.info), dict(entry.more)
        value = {"input": entry.input_digest, "by": self._process, "shard": shard, "more": more}
        self._added.append(name)
        self._target.put_unsynced(name, json.dumps(value).encode())

    def withdraw(self) -> None:
        """Delete the entries that this process wrote, unless another process has replaced them."""
        for name in self._added:
            with suppress(ValueError, KeyError, TypeError):  # then it is not ours
                if json.loads(self._target.read(name) or b"")["by"] == self._process:
                    self._target.delete([name])
        self._added.clear()

    def find(self, name: str) -> Entry | None:
        """Return the entry of a shard, or None."""
        entry = self._entry(entry_name(name, self._folder))
        return entry if entry is not None and entry.info.name == name else None

    def finished(self, name: str, input_digest: str) -> Entry | None:
        """Return the entry of a shard that was finished from the same input, if its files still have their lengths."""
        entry = self.find(name)
        if entry is None or entry.input_digest != input_digest:
            return None
        files = {entry.info.index_path: entry.info.index_bytes}
        if self._owns_tars:
            files[name] = entry.info.num_bytes
        return entry if all(self._target.size(file) == size for file, size in files.items()) else None

    def shard_names(self) -> Iterator[str]:
        """Yield the names of the shards that have an entry."""
        for name in self._target.names():
            entry = self._entry(name) if is_entry_name(name) else None
            if entry is not None and entry_name(entry.info.name, self._folder) == name:
                yield entry.info.name

    def _entry(self, name: str) -> Entry | None:
        try:
            value = json.loads(self._target.read(name) or b"")
            return Entry(info_of(value["shard"]), str(value["input"]), dict(value["more"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # a killed run may leave an incomplete entry
        return None

    def put_note(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON value under a name in the journal's folder. Safe in threads."""
        name = f"{self._folder}/{name}.json"
        self._added.append(name)
        self._target.put_unsynced(name, json.dumps({**value, "by": self._process}).encode())

    def note(self, name: str) -> Mapping[str, Any] | None:
        """Return a value that this or an earlier run has put there; None if it is missing or incomplete."""
        with suppress(ValueError):
            value = json.loads(self._target.read(f"{self._folder}/{name}.json") or b"")
            return value if isinstance(value, dict) else None
        return None

    def write_run_digest(self, run_digest: str, totals: Mapping[str, Any] | None = None) -> None:
        """Record the digest of this run's input and options, and its totals; call before writing the manifest."""
        self._target.put(RUN_PATH, [json.dumps({"run": run_digest, "totals": dict(totals or {})}).encode()])

    def run_totals(self) -> Mapping[str, Any]:
        """Return the totals beside `run_digest`."""
        try:
            return dict(json.loads(self._target.read(RUN_PATH) or b"")["totals"])
        except (ValueError, KeyError, TypeError):
            return {}

    def run_digest(self) -> str | None:
        """Return the digest of the run that was about to publish, or None if no run got that far."""
        try:
            return str(json.loads(self._target.read(RUN_PATH) or b"")["run"])
        except (ValueError, KeyError, TypeError):
            return None


def entry_name(name: str, folder: str = WORK_FOLDER) -> str:
    """Return the path of a shard's entry."""
    return f"{folder}/{flat_name(name)}{_ENDING}"


def is_entry_name(name: str) -> bool:
    """Return whether a path is that of an entry."""
    return name.startswith(f"{WORK_FOLDER}/") and name.endswith(_ENDING)


def entry_shard(path: str) -> str | None:
    """Return the packer's shard that an entry is of, by its path; None for any other file."""
    name = path[len(WORK_FOLDER) + 1 : -len(_ENDING)] if is_entry_name(path) else ""
    return name if is_packer_name(name) else None


def is_journal_name(name: str) -> bool:
    """Return whether a path is that of an entry or a note."""
    return name.startswith(f"{WORK_FOLDER}/") and name.endswith(".json") and name not in (LEASE_NAME, PLAN_PATH)
