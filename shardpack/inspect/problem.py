"""`Problem`: what `verify` reports about one file of a dataset."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shardpack.errors import (
    CorruptIndexError,
    CorruptManifestError,
    CorruptShardError,
    ShardNotFoundError,
    ShardpackError,
    StaleIndexError,
    StorageError,
)
from shardpack.format.layout import FOLDER

# Name of a problem -> (what it is, the command that repairs it); None: it depends on the file, or no command does.
KINDS: dict[str, tuple[str, str | None]] = {
    "damaged": ("a file has other bytes than were written", None),
    "missing": ("a file is not there", None),
    "stale": ("two files do not belong together", None),
    "unreadable": ("a file could not be read", None),
    "layer": ("a layer is not there, or is not the one that was attached", "detach"),
    "table": ("rows of the label table are not those of the samples", "table --force"),
    "behind": ("manifest.json is not that of the newest generation", "repair"),
    "incomplete": ("an earlier generation that is kept lacks a file, or its manifest is damaged", "gc"),
    "orphan": ("a file that shardpack made, and that no kept generation names", "gc"),
    "stray": ("a file that looks like part of a dataset, and that is not: move it away", None),
    "unfinished": ("a command was interrupted: run it again", None),
    "undecodable": ("an image cannot be decoded, or a JSON text not be parsed", "delete"),
    "different": ("a sample has other bytes than in the source", "append --on-duplicate replace"),
    "absent": ("the source has a sample that the dataset lacks", "append"),
    "extra": ("the dataset has a sample that the source lacks", "delete"),
}


# In the folder `.shardpack`, of the dataset or of a layer; a layer's tars may be within the dataset's.
_IN_FOLDER = re.compile(rf"(?:\A|/){re.escape(FOLDER)}/(?!layers/[^/]+/(?!{re.escape(FOLDER)}/))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one file.

    Attributes:
        kind: One of `KINDS`.
        shard: Path of the file.
        message: What is wrong, and behind the last "; " what to do.
        key, offset: The sample and the byte at which the problem is, where known.
    """

    kind: str
    shard: str
    message: str
    key: str | None = None
    offset: int | None = None

    @property
    def command(self) -> str | None:
        """The command that repairs it: "gc"; "repair" for what can be made anew from tars; "copy", from a good copy."""
        command = KINDS[self.kind][1]
        if self.kind in ("damaged", "missing", "stale"):
            return "repair" if _IN_FOLDER.search(self.shard) else "copy"
        return command

    @property
    def what(self) -> str:
        """What is wrong, without what to do."""
        return self.message.rpartition("; ")[0] or self.message

    def __str__(self) -> str:
        named = (("key", self.key), ("offset", self.offset))
        where = "".join(f", {name} {value!r}" for name, value in named if value is not None)
        return f"{self.kind}: {self.shard}{where}: {self.message}"


def problem_of(error: ShardpackError, name: str) -> Problem:
    """Return an error as a problem of the file it names, or of `name`."""
    kinds = {
        ShardNotFoundError: "missing",
        StorageError: "unreadable",
        CorruptShardError: "damaged",
        CorruptIndexError: "damaged",
        CorruptManifestError: "damaged",
        StaleIndexError: "stale",
    }
    return Problem(
        kinds.get(type(error), "damaged"), error.path or error.shard or name, error.args[0], error.key, error.offset
    )
