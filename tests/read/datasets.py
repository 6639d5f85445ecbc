"""Builders for reading tests: small datasets on the disk or in memory, and a store that counts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import shardpack
from shardpack.format.assemble import encode_dataset, recorded_options
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import manifest_path
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.memory import MemoryStore
from tests.fakes import Samples, file_contents


def numbered(count: int, *, size: int = 7) -> dict[str, dict[str, bytes]]:
    """Return `count` samples, all different; fields bin (`size` bytes and a little) and json."""
    return {
        f"k/{i:04d}": {"bin": (b"%06d" % i * size)[: size + i % 5], "json": b'{"number":%d}' % i} for i in range(count)
    }


def write(folder: Path, samples: Samples, *, split: str | None = None, **options: Any) -> Path:
    """Pack samples in this order into `folder`, all in one split if it has a name; return it."""
    with shardpack.ShardWriter(folder, **options) as writer:
        for key, fields in samples.items():
            writer.write(key, fields, split=split)
    return folder


def split_in_two(folder: Path) -> Path:
    """Move every second tar of a dataset to a folder `more` beside it, and say so in its manifest; return `folder`."""
    ds = shardpack.open(folder)
    hashes = hash_keys(ds.keys())
    shards = [replace(info, location=number % 2) for number, info in enumerate(ds.shards)]
    for info, moved in zip(ds.shards, shards, strict=True):
        if moved.location:
            for old, new in (
                (info.index_path, folder / moved.index_path),
                (info.name, folder.parent / "more" / info.name),
            ):
                new.parent.mkdir(parents=True, exist_ok=True)
                (folder / old).rename(new)
    for path in [*folder.glob(".shardpack/*.index"), folder / manifest_path(1)]:
        path.unlink()
    _, files = encode_dataset(
        shards, hashes, locations=(".", "../more"), classes=ds.classes, packed_with=ds.manifest.packed_with
    )
    for name, parts in files:
        (folder / name).write_bytes(b"".join(parts))
    return folder


def packed(samples: Samples, **options: Any) -> dict[str, bytes]:
    """Return the files of a dataset."""
    folder = Path(tempfile.mkdtemp())
    try:
        return file_contents(write(folder, samples, **options))
    finally:
        shutil.rmtree(folder)


def shards_open(ds: Any) -> list[Any]:
    """Return the shards that a dataset has open."""
    return [shard for shard in ds.stream_input().cache.by_position.shards if shard is not None]


def repeated(num_shards: int) -> dict[str, bytes]:
    """Return the files of a dataset whose shards are one shard of two samples under different names."""
    one = packed({f"{i}": {"cls": b"%d" % i} for i in range(2)})
    info = shardpack.open(MemoryStore(one)).shards[0]
    infos = [replace(info, name=f"shard-{number:06d}.tar") for number in range(num_shards)]
    files = {named.name: one[info.name] for named in infos}
    files |= {named.index_path: one[info.index_path] for named in infos}
    _, others = encode_dataset(infos, np.arange(2 * num_shards, dtype=np.uint64), packed_with=recorded_options())
    return files | {path: b"".join(parts) for path, parts in others}


class CountingStore(MemoryStore):
    """Like a bucket: no maps, checksums on, every range a request. `calls` holds (path, start, length)."""

    checks_reads = True

    def __init__(self, objects: dict[str, bytes], *, gap: int = 0, most: int = 1 << 20):
        super().__init__(objects)
        self.merge_limits = MergeLimits(max_gap_bytes=gap, max_request_bytes=most)
        self.calls: list[tuple[str, int, int]] = []

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        self.calls.append((path, start, length))
        return super().get_range(path, start=start, length=length)

    def size(self, path: str) -> int:
        self.calls.append((path, 0, 0))
        return super().size(path)

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        data = super().get(path, max_bytes=max_bytes)
        self.calls.append((path, 0, len(data)))
        return data

    def map(self, path: str) -> None:
        """There are no maps of a bucket."""

    def taken(self) -> list[str]:
        """Return the paths asked for since the last call, in order."""
        paths = [path for path, _, _ in self.calls]
        self.calls.clear()
        return paths


def descriptors(folder: Path) -> int:
    """Return how many descriptors of this process are files of a dataset."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            count += os.readlink(f"/proc/self/fd/{name}").startswith(f"{folder}/")
    return count


def as_dicts(samples: Sequence[shardpack.Sample]) -> list[tuple[str, int, dict[str, bytes]]]:
    """Return all there is to a sample, to compare."""
    return [(sample.key, sample.position, dict(sample)) for sample in samples]


def expected(samples: Samples, positions: Sequence[int] | None = None) -> list[tuple[str, int, dict[str, bytes]]]:
    """Return what `as_dicts` must give for these positions; for all by default."""
    keys = list(samples)
    chosen = range(len(keys)) if positions is None else positions
    return [(keys[i], i, dict(samples[keys[i]])) for i in chosen]


@st.composite
def collections(draw: st.DrawFn) -> dict[str, dict[str, bytes]]:
    """Small collections: some samples lack fields, some payloads are empty, keys in no order."""
    keys = draw(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=14, unique=True))
    fields = st.dictionaries(
        st.sampled_from(["bin", "cls", "json", "seg.png"]), st.binary(max_size=600), min_size=1, max_size=3
    )
    return {key: dict(sorted(draw(fields).items())) for key in keys}
