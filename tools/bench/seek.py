"""Random access, page cache warm: `ds[i]`, `ds[key]` and `get_many` against LMDB on the same samples.

A sample is its image and its label, both as bytes: two `txn.get` of py-lmdb, in one read
transaction that lasts the whole run, with keys encoded beforehand. `os.pread` knows all offsets
beforehand. webdataset cannot seek. Nothing here waits for anything, so the seconds are those of
the CPU: what other processes take of it does not count.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from common import Report, run
from data import TINY, packed, warm
from measure import interleave, ratio
from peers import lmdb_names, lmdb_of, spans

import shardpack

BATCH = 256


def one_by_one(ds: shardpack.Dataset, wanted: list[Any]) -> float:
    """Return the CPU seconds of `ds[...]` for each position or key."""
    began = time.process_time()
    for item in wanted:
        sample = ds[item]
        _ = sample["jpg"]
        _ = sample["json"]
    return time.process_time() - began


def together(ds: shardpack.Dataset, wanted: list[Any], batch: int = BATCH) -> float:
    """Return the CPU seconds of `get_many`, so many at once."""
    began = time.process_time()
    for first in range(0, len(wanted), batch):
        for sample in ds.get_many(wanted[first : first + batch]):
            _ = sample["jpg"]
            _ = sample["json"]
    return time.process_time() - began


def shardpack_cases(ds: shardpack.Dataset, positions: list[int], keys: list[str]) -> dict[str, Callable[[], float]]:
    """Return the ways of shardpack to read these samples."""
    return {
        "ds[i]": lambda: one_by_one(ds, positions),
        "ds[key]": lambda: one_by_one(ds, [keys[position] for position in positions]),
        f"get_many({BATCH})": lambda: together(ds, positions),
    }


def bare_cases(env: lmdb.Environment, names: list[tuple[bytes, bytes]], where: list[Any]) -> dict[str, Any]:
    """Return the peers, each a function of the positions."""

    def gets(positions: list[int], *, buffers: bool) -> float:
        wanted = [names[position] for position in positions]
        with env.begin(buffers=buffers) as txn:
            get = txn.get
            began = time.process_time()
            for image, label in wanted:
                _ = get(image)
                _ = get(label)
            return time.process_time() - began

    def preads(positions: list[int], *, together: bool) -> float:
        wanted, pread = [where[position] for position in positions], os.pread
        began = time.process_time()
        for descriptor, offset, size, label_offset, label_size in wanted:
            if together:
                both = pread(descriptor, label_offset + label_size - offset, offset)
                _ = both[:size]
                _ = both[label_offset - offset :]
            else:
                _ = pread(descriptor, size, offset)
                _ = pread(descriptor, label_size, label_offset)
        return time.process_time() - began

    return {
        "LMDB, two txn.get": lambda positions: gets(positions, buffers=False),
        "LMDB, buffers=True (no bytes)": lambda positions: gets(positions, buffers=True),
        "two os.pread": lambda positions: preads(positions, together=False),
        "one os.pread, cut in two": lambda positions: preads(positions, together=True),
    }


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = TINY.scaled(args.scale)
    folder, peer = packed(work, root, max_shard_bytes="64MiB"), lmdb_of(work, root)
    warm(folder)
    warm(peer)
    ds = shardpack.open(folder)
    keys = list(ds.keys())
    names = lmdb_names(keys)
    descriptors, where = spans(folder)
    with lmdb.open(str(peer), readonly=True, lock=False, readahead=False) as env:
        with env.begin() as txn:  # the same bytes, and every page of both maps touched
            for position in range(len(ds)):
                assert [txn.get(name) for name in names[position]] == list(ds[position].values())
        rng = np.random.default_rng(1)

        def in_turn() -> dict[str, list[float]]:
            """Return one round of every case on the same fresh positions."""
            positions = rng.integers(len(ds), size=args.reads).tolist()
            cases = shardpack_cases(ds, positions, keys)
            peers = bare_cases(env, names, where)
            cases |= {name: lambda run=run: run(positions) for name, run in peers.items()}
            order = rng.permutation(sorted(cases)).tolist()
            return interleave({name: cases[name] for name in order}, 1, patient=False)

        rounds = [in_turn() for _ in range(args.rounds)]
    for descriptor in descriptors:
        os.close(descriptor)
    order = ["LMDB, two txn.get", "ds[i]", "ds[key]", f"get_many({BATCH})"]
    order += [name for name in rounds[0] if name not in order]
    seconds = {name: [one[name][0] for one in rounds] for name in order}
    report.add_cases(f"tiny, {len(ds):,}", seconds, per=args.reads, unit="samples", peer=order[0])
    for name, wanted in (("ds[i]", 1.0), ("ds[key]", 0.7), (f"get_many({BATCH})", 1.3)):
        report.target(f"{name} against LMDB", ratio(seconds[order[0]], seconds[name]), at_least=wanted)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reads", type=int, default=20_480, help="samples a case reads in a round (default 20480)")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=21, add=add_options))
