"""What an unfinished run has done: an entry for each finished shard, in the work folder.

OUT/.shardpack/tmp/shard-000003.tar.done.json    {"input": "9f0c...", "by": "5f3a...", "shard": {"name": ...}}
OUT/.shardpack/run.json                          {"run": "77ab..."}: of what the whole dataset was made; the last to go

An entry counts only if its input digest is that of the run that asks, so that nothing is taken over
that was made of something else. Digests and shards are all that is kept: no location, no option, no secret.
`by` tells the entries of one process from those of another that began in the same bucket.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from shardpack.commit.scratch import flat_name
from shardpack.commit.target import Target
from shardpack.format.dataset_files import RUN_PATH
from shardpack.format.manifest import WORK_FOLDER
from shardpack.format.shard_info import ShardInfo, info_of, record_of

_ENDING = ".done.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished shard.

    Attributes:
        info: What it is.
        input_digest: Of what it was made.
        more: What else the caller wants to know when it resumes; JSON values.
    """

    info: ShardInfo
    input_digest: str
    more: Mapping[str, Any] = field(default_factory=dict)


class Journal:
    """The entries of a target."""

    def __init__(self, target: Target, *, owns_tars: bool = True) -> None:
        """Read and write the entries of a target; without `owns_tars` its tars are somewhere else, or somebody's."""
        self._target, self._owns_tars = target, owns_tars
        self._process = secrets.token_hex(8)
        self._added: list[str] = []

    def add(self, entry: Entry) -> None:
        """Write an entry; it replaces an earlier one of the same shard. Safe in threads."""
        name = entry_name(entry.info.name)
        shard, more = record_of(entry.info), dict(entry.more)
        value = {"input": entry.input_digest, "by": self._process, "shard": shard, "more": more}
        self._added.append(name)
        self._target.put_unsynced(name, json.dumps(value).encode())

    def withdraw(self) -> None:
        """Delete the entries that this process has written, but for those that another has replaced."""
        for name in self._added:
            with suppress(ValueError, KeyError, TypeError):  # not ours then
                if json.loads(self._target.read(name) or b"")["by"] == self._process:
                    self._target.delete([name])
        self._added.clear()

    def find(self, name: str) -> Entry | None:
        """Return the entry of a shard, or None."""
        entry = self._entry(entry_name(name))
        return entry if entry is not None and entry.info.name == name else None

    def finished(self, name: str, input_digest: str) -> Entry | None:
        """Return the entry of a shard that was finished from the same input, if its files are still whole."""
        entry = self.find(name)
        if entry is None or entry.input_digest != input_digest:
            return None
        files = {entry.info.index_path: entry.info.index_bytes}
        if self._owns_tars:
            files[name] = entry.info.num_bytes
        return entry if all(self._target.size(file) == size for file, size in files.items()) else None

    def shard_names(self) -> Iterator[str]:
        """Yield the shards that entries tell of."""
        for name in self._target.names():
            entry = self._entry(name) if name.startswith(f"{WORK_FOLDER}/") and name.endswith(_ENDING) else None
            if entry is not None and entry_name(entry.info.name) == name:
                yield entry.info.name

    def _entry(self, name: str) -> Entry | None:
        try:
            value = json.loads(self._target.read(name) or b"")
            return Entry(info_of(value["shard"]), str(value["input"]), dict(value["more"]))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # a run that was killed may leave half an entry
        return None

    def write_run_digest(self, run_digest: str) -> None:
        """Say of what the whole dataset was made; comes before its manifest."""
        self._target.put(RUN_PATH, [json.dumps({"run": run_digest}).encode()])

    def run_digest(self) -> str | None:
        """Return of what the dataset was made whose manifest was about to be written; None if no run came so far."""
        try:
            return str(json.loads(self._target.read(RUN_PATH) or b"")["run"])
        except (ValueError, KeyError, TypeError):
            return None


def entry_name(name: str) -> str:
    """Return the name of a shard's entry."""
    return f"{WORK_FOLDER}/{flat_name(name)}{_ENDING}"
