"""Write one file for each tar: names that do not collide, and one tar in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from shardpack.errors import OptionError
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.staging import ExportFiles


def distinct(names: Iterable[str], shards: Sequence[str]) -> list[str]:
    """Return the names of the files of all tars, in order.

    Raises:
        OptionError: Two tars would have one file.
    """
    first: dict[str, str] = {}
    for name, shard in zip(names, shards, strict=True):
        if (other := first.setdefault(name, shard)) != shard:
            raise OptionError(f"{other!r} and {shard!r} would share one index, {name!r}; rename one")
    return list(first)


def write_bytes(files: ExportFiles, name: str, content: bytes) -> None:
    """Write one file."""
    with open(files.create(name), "wb") as file:
        file.write(content)


def write_each(
    files: ExportFiles,
    names: Sequence[str],
    members: Iterable[ShardMembers],
    encode: Callable[[int, ShardMembers], bytes],
) -> Iterator[ShardMembers]:
    """Write the file of each tar, `encode(number, members)`, and yield its members again."""
    for number, one in enumerate(members):
        write_bytes(files, names[number], encode(number, one))
        yield one
