"""Random access, page cache warm: `ds[i]`, `ds[key]` and `get_many` against LMDB on the same samples.

A sample is its picture and its label, both as bytes: two `txn.get` of py-lmdb, in one read
transaction that lasts the whole run, with keys encoded beforehand. `os.pread` knows all offsets
beforehand. webdataset cannot seek. Nothing here waits for anything, so the seconds are those of
the CPU: what other processes take of it does not count.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from common import Report, options, work_folder
from data import TINY, Work, packed, warm
from measure import interleave, ratio

import shardpack

BATCH = 256


def lmdb_of(work: Work, root: Path) -> Path:
    """Return an LMDB folder with the same payloads, made if it is not there yet."""
    folder = root / f"{work.name}-{work.num_samples}-lmdb"
    if not (folder / "done").exists():
        room = 2 * work.num_samples * (work.max_bytes + 8192)
        with lmdb.open(str(folder), map_size=room) as env, env.begin(write=True) as txn:
            for key, picture, label in work.samples():
                txn.put(f"{key}.jpg".encode(), picture, append=True)
                txn.put(f"{key}.json".encode(), label, append=True)
        (folder / "done").touch()
    return folder


def lmdb_names(keys: list[str]) -> list[tuple[bytes, bytes]]:
    """Return the two LMDB keys of each sample."""
    return [(f"{key}.jpg".encode(), f"{key}.json".encode()) for key in keys]


def spans(ds: shardpack.Dataset, folder: Path) -> tuple[list[int], list[tuple[int, int, int, int, int]]]:
    """Return (descriptors, (descriptor, offset, size, offset, size) of picture and label) for bare reads."""
    descriptors = {info.name: os.open(folder / info.name, os.O_RDONLY) for info in ds.shards}
    found = []
    for entry in ds.entries():
        picture, label = entry.fields["jpg"], entry.fields["json"]
        where = descriptors[entry.shard]
        found.append((where, picture.data_offset, picture.size, label.data_offset, label.size))
    return list(descriptors.values()), found


def shardpack_cases(ds: shardpack.Dataset, positions: list[int], keys: list[str]) -> dict[str, Callable[[], float]]:
    """Return the ways of shardpack to read these samples."""

    def one_by_one(items: list[Any]) -> float:
        began = time.process_time()
        for item in items:
            sample = ds[item]
            _ = sample["jpg"]
            _ = sample["json"]
        return time.process_time() - began

    def many() -> float:
        began = time.process_time()
        for first in range(0, len(positions), BATCH):
            for sample in ds.get_many(positions[first : first + BATCH]):
                _ = sample["jpg"]
                _ = sample["json"]
        return time.process_time() - began

    return {
        "ds[i]": lambda: one_by_one(positions),
        "ds[key]": lambda: one_by_one([keys[position] for position in positions]),
        f"get_many({BATCH})": many,
    }


def bare_cases(env: lmdb.Environment, names: list[tuple[bytes, bytes]], where: list[Any]) -> dict[str, Any]:
    """Return the peers, each a function of the positions."""

    def gets(positions: list[int], *, buffers: bool) -> float:
        wanted = [names[position] for position in positions]
        with env.begin(buffers=buffers) as txn:
            get = txn.get
            began = time.process_time()
            for picture, label in wanted:
                _ = get(picture)
                _ = get(label)
            return time.process_time() - began

    def preads(positions: list[int]) -> float:
        wanted, pread = [where[position] for position in positions], os.pread
        began = time.process_time()
        for descriptor, offset, size, label_offset, label_size in wanted:
            _ = pread(descriptor, size, offset)
            _ = pread(descriptor, label_size, label_offset)
        return time.process_time() - began

    def preads_one(positions: list[int]) -> float:
        wanted, pread = [where[position] for position in positions], os.pread
        began = time.process_time()
        for descriptor, offset, size, label_offset, label_size in wanted:
            both = pread(descriptor, label_offset + label_size - offset, offset)
            _ = both[:size]
            _ = both[label_offset - offset :]
        return time.process_time() - began

    return {
        "LMDB, two txn.get": lambda positions: gets(positions, buffers=False),
        "LMDB, buffers=True (no bytes)": lambda positions: gets(positions, buffers=True),
        "two os.pread": preads,
        "one os.pread, cut in two": preads_one,
    }


def main() -> int:
    parser = options(__doc__, rounds=21)
    parser.add_argument("--reads", type=int, default=20_480, help="samples a case reads in a round (default 20480)")
    args = parser.parse_args()
    report = Report("seek", args)
    with work_folder(args) as root:
        work = TINY.scaled(args.scale)
        folder, peer = packed(work, root, max_shard_bytes="64MiB"), lmdb_of(work, root)
        warm(folder)
        warm(peer)
        ds = shardpack.open(folder)
        keys = list(ds.keys())
        names = lmdb_names(keys)
        descriptors, where = spans(ds, folder)
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
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
