"""The same samples in every peer's own form, and readers that hand out one epoch of them.

    shardpack     tar shards                    stream(): a dict, bytes
    webdataset    the same tar shards           a dict, bytes
    LMDB          two keys a sample             cursor, or two `txn.get`: bytes
    MosaicML      MDS, columns of type bytes    StreamingDataset: a dict, bytes
    LitData       chunks of 64 MB               StreamingDataset: a dict, views of a memory map
    pread         our tars, offsets known       one read a sample, cut in two: bytes

Readers are made inside the process that uses them; what they keep open stays open from round to round.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from data import Work, members, once, packed
from xxhash import xxh3_64_intdigest

import shardpack

SHARD_BYTES = "64MiB"  # what the others take by default
BATCH = 256  # MosaicML plans its reads ahead by this
HOW_TO_INSTALL = (
    'pip install torch==2.13.0 (a CPU build will do), then pip install -e ".[bench-torch]"; or tools/bench/run --torch'
)
Epoch = Callable[[int], Iterable[Any]]
Span = tuple[int, int, int, int, int]  # descriptor, offset and size of the image, offset and size of the label


@dataclass(frozen=True)
class Reader:
    """How to go through one epoch.

    Attributes:
        epoch: Number of an epoch -> its samples, mappings of "jpg" and "json"; nothing is read before `iter`.
        pairs: They are (image, label) instead.
    """

    epoch: Epoch
    pairs: bool = False

    def seconds(self, number: int) -> float:
        """Return the seconds of an epoch, from asking for it to holding both payloads of the last sample."""
        samples = self.epoch(number)
        began = time.perf_counter()
        if self.pairs:
            for image, label in samples:
                _ = image, label
        else:
            for sample in samples:
                _ = sample["jpg"], sample["json"]
        return time.perf_counter() - began

    def digest(self, number: int) -> tuple[int, int]:
        """Return (samples, sum of the hashes of their payloads), whatever their order."""
        count = total = 0
        for sample in self.epoch(number):
            image, label = sample if self.pairs else (sample["jpg"], sample["json"])
            count += 1
            total += xxh3_64_intdigest(label, seed=xxh3_64_intdigest(image))
        return count, total % 2**64


def missing(*modules: str) -> bool:
    """Return whether any of these is not installed."""
    return any(find_spec(module) is None for module in modules)


def import_mosaicml() -> Any:
    """Return the module `streaming`.

    It imports torchvision for classes that nothing here uses. Where that is not installed, or is built
    for another torch, an empty module stands in.
    """
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("", ".datasets", ".transforms", ".transforms.functional"):
            sys.modules[f"torchvision{name}"] = module_from_spec(ModuleSpec(f"torchvision{name}", None))
        sys.modules["torchvision.datasets"].VisionDataset = object  # type: ignore[attr-defined]
        sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]
    return importlib.import_module("streaming")


# Their data


def mds_of(samples: Iterable[dict[str, bytes]], folder: Path) -> Path:
    """Return a folder of MosaicML's shards with these samples, made if it is not there yet."""
    if not (folder / "index.json").exists():
        columns = {"jpg": "bytes", "json": "bytes"}
        with import_mosaicml().MDSWriter(out=str(folder), columns=columns, exist_ok=True) as writer:
            for sample in samples:
                writer.write(sample)
    return folder


def litdata_of(samples: Iterable[dict[str, bytes]], folder: Path) -> Path:
    """Return a folder of LitData's chunks with these samples, made if it is not there yet.

    The files are those of `litdata.optimize`, without its worker processes.
    """
    if not (folder / "index.json").exists():
        writer = importlib.import_module("litdata.streaming.cache").Cache(str(folder), chunk_bytes="64MB")
        for i, sample in enumerate(samples):
            writer[i] = sample
        writer.done()
        writer.merge()
    return folder


def lmdb_of(work: Work, root: Path) -> Path:
    """Return an LMDB folder with the samples of a work, two entries each, made if it is not there yet."""

    def make(folder: Path) -> None:
        room = 2 * work.num_samples * (work.max_bytes + 8192)
        with lmdb.open(str(folder), map_size=room) as env:
            put_all(env, work.samples())

    return once(root / f"{work.name}-{work.num_samples}-lmdb", make)


def put_all(env: lmdb.Environment, samples: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Write samples that come sorted by key into LMDB, in one transaction."""
    with env.begin(write=True) as txn:
        for key, image, label in samples:
            txn.put(f"{key}.jpg".encode(), image, append=True)
            txn.put(f"{key}.json".encode(), label, append=True)


def lmdb_names(keys: list[str]) -> list[tuple[bytes, bytes]]:
    """Return the two LMDB keys of each sample."""
    return [(f"{key}.jpg".encode(), f"{key}.json".encode()) for key in keys]


def write_webdataset(samples: Iterable[tuple[str, bytes, bytes]], folder: Path, **mtime: float) -> None:
    """Pack with webdataset's own writer, as its documentation shows it."""
    import webdataset

    folder.mkdir(parents=True, exist_ok=True)
    with webdataset.ShardWriter(str(folder / "%06d.tar"), maxsize=64 << 20, verbose=0, **mtime) as writer:
        for key, image, label in samples:
            writer.write({"__key__": key, "jpg": image, "json": label})


def spans(folder: Path) -> tuple[list[int], list[Span]]:
    """Return (open descriptors, where image and label of each sample lie) for bare reads of our tars."""
    descriptors, found = [], []
    for tar in sorted(folder.glob("*.tar")):
        descriptors.append(os.open(tar, os.O_RDONLY))
        entries = members(tar)
        for (_, image_at, image_size), (_, label_at, label_size) in zip(entries, entries, strict=True):
            found.append((descriptors[-1], image_at, image_size, label_at, label_size))
    return descriptors, found


def folder_of(peer: str, work: Work, root: Path) -> Path:
    """Return the folder of a peer's data, made if it is not there yet."""
    if peer == "lmdb":
        return lmdb_of(work, root)
    if peer == "shardpack":
        return packed(work, root, max_shard_bytes=SHARD_BYTES)
    make = {"mds": mds_of, "litdata": litdata_of}[peer]
    return make((fields for _, fields in work.fields()), root / f"{work.name}-{work.num_samples}-{peer}")


# Their readers: each at most once in a process


@cache
def read_shardpack(folder: Path, shuffle: str) -> Reader:
    ds = shardpack.open(folder)
    return Reader(lambda epoch: ds.stream(shuffle=shuffle, seed=epoch))


@cache
def read_webdataset(folder: Path) -> Reader:
    import webdataset

    urls = sorted(map(str, folder.glob("*.tar")))
    return Reader(lambda _: webdataset.WebDataset(urls, shardshuffle=False))


@cache
def read_lmdb(folder: Path, packed_folder: Path, *, permuted: bool) -> Reader:
    """Return a reader with one transaction that lasts as long as the process; keys are encoded beforehand."""
    txn = lmdb.open(str(folder), readonly=True, lock=False, readahead=False).begin()
    if not permuted:

        def in_order(_: int) -> Iterator[tuple[bytes, bytes]]:
            values = txn.cursor().iternext(keys=False, values=True)
            return zip(values, values, strict=True)

        return Reader(in_order, pairs=True)
    names = lmdb_names(list(shardpack.open(packed_folder).keys()))

    def at_random(epoch: int) -> Iterator[tuple[bytes, bytes]]:
        order = np.random.default_rng(epoch).permutation(len(names)).tolist()
        images, labels = ([names[i][side] for i in order] for side in (0, 1))
        return zip(map(txn.get, images), map(txn.get, labels), strict=True)  # faster than a loop of two calls

    return Reader(at_random, pairs=True)


@cache
def read_preads(folder: Path) -> Reader:
    _, found = spans(folder)
    where = [(fd, at + label_at - start, start, size, at - start) for fd, start, size, at, label_at in found]
    pread = os.pread
    return Reader(
        lambda _: (
            ((both := pread(fd, length, start))[:size], both[label:]) for fd, length, start, size, label in where
        ),
        pairs=True,
    )


@cache
def read_mosaicml(folder: Path) -> Reader:
    dataset = import_mosaicml().StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    return Reader(lambda _: dataset)  # counts its epochs itself


@cache
def read_litdata(folder: Path, *, as_bytes: bool) -> Reader:
    """Return a reader of views, as LitData gives them, or of bytes: only then has every payload been read."""
    dataset = importlib.import_module("litdata").StreamingDataset(str(folder), shuffle=True)
    if not as_bytes:
        return Reader(lambda _: dataset)
    return Reader(lambda _: ((bytes(sample["jpg"]), bytes(sample["json"])) for sample in dataset), pairs=True)
