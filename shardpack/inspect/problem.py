"""`Problem`: what `verify` reports about one file of a dataset."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of one file.

    Attributes:
        kind: "damaged", "stale" (two files do not belong together), "missing", "unreadable" or "orphan".
        shard: Path of the file.
        message: What is wrong, and what to do.
        key, offset: The sample and the byte at which the problem is, where known.
    """

    kind: str
    shard: str
    message: str
    key: str | None = None
    offset: int | None = None

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
