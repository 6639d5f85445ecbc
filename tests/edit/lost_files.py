"""Datasets whose files get lost: small ones, and what is in them by name."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import shardpack


def make(folder: Path, count: int = 10, *, splits: tuple[str | None, ...] = (None,), **options: Any) -> Path:
    """Write a dataset of `count` samples, as many in each split, one split after another; return its folder."""
    with shardpack.ShardWriter(folder, max_shard_samples=3, **options) as writer:
        for number in range(count):
            fields = {"bin": b"%03d" % number * (number + 1), "json": {"number": number}}
            writer.write(f"k/{number:03d}", fields, split=splits[number * len(splits) // count])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def restored(files: dict[str, bytes], folder: Path) -> Path:
    """Write these files to an empty folder; return it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def without_sidecars(folder: Path) -> Path:
    """Delete the folder `.shardpack`."""
    shutil.rmtree(folder / ".shardpack")
    return folder


def samples(folder: Path) -> list[tuple[str, dict[str, bytes]]]:
    """Return key and fields of all samples, in order."""
    with shardpack.open(folder) as ds:
        return [(sample.key, dict(sample)) for sample in ds]


def cut(path: Path, num_bytes: int) -> None:
    """Let a file break off."""
    path.write_bytes(path.read_bytes()[:num_bytes])
