"""Random batches of large samples, page cache cold: `get_many(64)` on `photo` against LMDB and bare reads.

Each round draws fresh positions; before each run all files are put out of the page cache. In the
first table the key pages of both are in memory, and only payloads come from the disk; in the second
nothing is, and opening counts too. LMDB with read-ahead is its default, without what its
documentation advises for random reads. The bare loops know all offsets beforehand.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from common import Report, run
from data import PHOTO, packed
from measure import interleave, ratio
from peers import lmdb_names, lmdb_of, spans

import shardpack

BATCH = 64
READAHEAD = {"LMDB": True, "LMDB, readahead=False": False}


def drop(*folders: Path) -> None:
    """Put all files of some folders out of the page cache: whatever no process maps."""
    for folder in folders:
        for path in filter(Path.is_file, folder.rglob("*")):
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
    if os.geteuid() == 0:
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("1")


@contextmanager
def opened(peer: Path, *, readahead: bool, keys_warm: bool) -> Iterator[lmdb.Environment]:
    """Yield the LMDB, with or without its key pages in memory; a map of its own, so that pages can be dropped."""
    if keys_warm:
        with opened(peer, readahead=False, keys_warm=False) as env, env.begin() as txn:
            for _ in txn.cursor().iternext(keys=True, values=False):
                pass
    with lmdb.open(str(peer), readonly=True, lock=False, readahead=readahead) as env:
        yield env


def get_all(env: lmdb.Environment, names: list[tuple[bytes, bytes]], positions: list[int]) -> None:
    """Read the samples from LMDB, as bytes."""
    with env.begin() as txn:
        for position in positions:
            _ = [txn.get(name) for name in names[position]]


def bare(where: list[Any], positions: list[int], *, hinted: bool) -> float:
    """Return the seconds of one read a sample, image and label at once, ascending."""
    began = time.perf_counter()
    spans_wanted = sorted((where[position][0], where[position][1], sum(where[position][3:])) for position in positions)
    if hinted:
        for descriptor, start, stop in spans_wanted:
            os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_WILLNEED)
    for descriptor, start, stop in spans_wanted:
        os.pread(descriptor, stop - start, start)
    return time.perf_counter() - began


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = PHOTO.scaled(args.scale)
    folder, peer = packed(work, root, max_shard_bytes="256MiB"), lmdb_of(work, root)
    os.sync()
    ds = shardpack.open(folder)
    keys = list(ds.keys())  # every shard's index is in memory from here on
    names = lmdb_names(keys)
    descriptors, where = spans(folder)
    rng = np.random.default_rng(2)
    positions: list[int] = []

    def cold(run: Callable[[], float]) -> Callable[[], float]:
        def prepared() -> float:
            positions[:] = rng.integers(len(ds), size=BATCH).tolist()
            drop(folder, peer)
            return run()

        return prepared

    def from_lmdb(*, readahead: bool) -> float:
        with opened(peer, readahead=readahead, keys_warm=True) as env:
            began = time.perf_counter()
            get_all(env, names, positions)
            return time.perf_counter() - began

    def from_lmdb_cold(*, readahead: bool) -> float:
        began = time.perf_counter()
        with opened(peer, readahead=readahead, keys_warm=False) as env:
            get_all(env, names, positions)
            return time.perf_counter() - began

    def ours(open_first: shardpack.Dataset | None) -> float:
        began = time.perf_counter()
        (open_first or shardpack.open(folder)).get_many(positions)
        return time.perf_counter() - began

    peers = {name: lambda flag=flag: from_lmdb(readahead=flag) for name, flag in READAHEAD.items()}
    cases = {
        **peers,
        "posix_fadvise + pread": lambda: bare(where, positions, hinted=True),
        "pread alone": lambda: bare(where, positions, hinted=False),
        f"get_many({BATCH})": lambda: ours(ds),
    }
    warm_keys = interleave({name: cold(run) for name, run in cases.items()}, args.rounds)
    report.add_cases("photo, keys in memory", warm_keys, per=BATCH, unit="samples", peer="LMDB")
    del ds
    cases = {name: lambda flag=flag: from_lmdb_cold(readahead=flag) for name, flag in READAHEAD.items()}
    cases[f"open, get_many({BATCH})"] = lambda: ours(None)
    ds = shardpack.open(folder)
    all_cold = interleave({name: cold(run) for name, run in cases.items()}, args.rounds)
    report.add_cases("photo, all cold", all_cold, per=BATCH, unit="samples", peer="LMDB")
    for descriptor in descriptors:
        os.close(descriptor)
    mine = warm_keys[f"get_many({BATCH})"]
    for name in READAHEAD:
        report.target(f"get_many({BATCH}) against {name}", ratio(warm_keys[name], mine), at_least=5)
    bare_loop = ratio(warm_keys["posix_fadvise + pread"], mine)
    report.target(f"get_many({BATCH}) against the hinted loop", bare_loop, at_least=0.8)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=21))
