"""Ways to damage a dataset; every read of it must return the true bytes, or raise an error that says what to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import shardpack
from shardpack.errors import ShardpackError
from shardpack.format import container as safetensors
from tests.fakes import Samples
from tests.read.datasets import as_dicts, expected

# Every damage must be told with a way out of it.
HELPS = re.compile(
    r"shardpack (?:index|repair|verify|pack)|restore|pack again|open another folder|upgrade shardpack|open it again"
)


def accesses(samples: Samples) -> Iterator[tuple[str, Callable[[shardpack.Dataset], Any], Any]]:
    """Yield (name, access, what it must give) for every way of reading."""
    keys = list(samples)
    for i, key in enumerate(keys):
        yield f"ds[{i}]", lambda ds, i=i: as_dicts([ds[i]]), expected(samples, [i])
        yield f"ds[{key!r}]", lambda ds, key=key: as_dicts([ds[key]]), expected(samples, [i])
        yield f"{key!r} in ds", lambda ds, key=key: key in ds, True
    yield (
        "get_many",
        lambda ds: as_dicts(ds.get_many(range(len(keys))[::-1])),
        expected(samples, range(len(keys))[::-1]),
    )
    yield "stream", lambda ds: as_dicts(list(ds.stream())), expected(samples)
    yield "keys", lambda ds: list(ds.keys()), keys
    yield "len", len, len(keys)


def errors_of_reading(folder: Path, samples: Samples, *, verify: bool) -> list[ShardpackError]:
    """Read everything in every way; return the errors. Anything that is neither truth nor error of ours fails.

    Each access is made on a dataset of its own and on one that all share.
    """
    errors = []
    try:
        shared = shardpack.open(folder, verify=verify)
    except ShardpackError as error:
        return [checked(error)]
    for name, access, truth in accesses(samples):
        for ds in (shared, shardpack.open(folder, verify=verify)):
            try:
                found = access(ds)
            except ShardpackError as error:
                errors.append(checked(error))
            else:
                assert found == truth, name
    return errors


def checked(error: ShardpackError) -> ShardpackError:
    """Return an error that says in one line what to do; fail for any other."""
    text = str(error)
    assert HELPS.search(text), text
    assert "\n" not in text
    return error


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def regions(index: Path) -> dict[str, tuple[int, int]]:
    """Return (begin, end) of the length word, the header, and each column of an index."""
    data = index.read_bytes()
    header, start = safetensors.header_object(memoryview(data), name=index.name)
    header.pop("__metadata__")
    found = {"length": (0, 8), "header": (8, start)}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        found[name] = (start + begin, start + end)
    return found
