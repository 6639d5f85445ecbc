"""A small dataset with what foreign indexes stumble over, and Python's tarfile as a judge of offsets."""

from __future__ import annotations

import tarfile
from pathlib import Path

import shardpack
from shardpack.export.run import export

LONG = "long/" + "x" * 120  # its names need a pax header
SAMPLES = {
    "cat/0001": {"jpg": b"a" * 700, "json": {"label": 0}},
    "cat/0002": {"jpg": b"b" * 512, "json": {"label": 0}, "seg.png": b""},
    "dog/0003": {"cls": b"1", "jpg": b"c"},
    "top": {"json": {"label": 1}, "txt": b"caption"},
    "dog/deep/0005": {"jpg": b"d" * 513, "json": {"label": 1}},
    LONG: {"json": {"label": 1}, "jpg": b"e"},
    "a/" * 60 + "0007": {"json": {"label": 1}},
}


def make(folder: Path) -> shardpack.Dataset:
    """Return a dataset of three shards; the same bytes each time."""
    with shardpack.ShardWriter(folder, classes=["cat", "dog"], max_shard_samples=3) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)
    return shardpack.open(folder)


def exported(ds: shardpack.Dataset, out: Path, to: str, **options: object) -> dict[str, bytes]:
    """Return the files that an export makes, by name."""
    export(ds, out, to=to, **options)  # type: ignore[arg-type]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def members(tar: Path) -> list[tarfile.TarInfo]:
    """Return the members of a tar as Python reads them."""
    with tarfile.open(tar) as archive:
        return archive.getmembers()
