"""Edited datasets against themselves before the edit: what reading costs more, and what the edits take.

**Deleted**: 2,000,000 samples of one label, in stored order; 1,000 of them, anywhere, are deleted. Generation 1 is
the dataset before, and both are read from the same shards in one process, in turn, page cache warm: `ds[i]` and
`get_many` at random, and epochs of raw bytes. Nothing here waits for anything, so the seconds are those of the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from common import Report, run
from data import dataset, warm
from measure import interleave, spread, timed
from seek import BATCH

import shardpack

SAMPLES, DELETED, READS = 2_000_000, 1_000, 20_480
MOST = 1.15  # times the seconds before the edit
ORDERS = ("none", "blocks", "global")


def key_of(i: int) -> str:
    """Return the key of sample i."""
    return f"{i // 1000:05d}/{i:08d}"


def samples(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield tiny samples: a label each."""
    for i in range(count):
        yield key_of(i), {"json": b'{"label": %d}' % (i % 1000)}


def one_by_one(ds: shardpack.Dataset, positions: list[int]) -> float:
    """Return the CPU seconds of `ds[i]` for each position."""
    began = time.process_time()
    for position in positions:
        _ = ds[position]["json"]
    return time.process_time() - began


def together(ds: shardpack.Dataset, positions: list[int]) -> float:
    """Return the CPU seconds of `get_many` for all positions."""
    began = time.process_time()
    for first in range(0, len(positions), BATCH):
        for sample in ds.get_many(positions[first : first + BATCH]):
            _ = sample["json"]
    return time.process_time() - began


def epoch(ds: shardpack.Dataset, shuffle: str) -> float:
    """Return the CPU seconds of an epoch, per sample of it."""
    began = time.process_time()
    for sample in ds.stream(shuffle=shuffle, seed=1):
        _ = sample["json"]
    return (time.process_time() - began) / len(ds)


def compare(report: Report, work: str, cases: dict[str, Callable[[shardpack.Dataset], float]], *,
            before: shardpack.Dataset, after: shardpack.Dataset, rounds: int) -> None:  # fmt: skip
    """Report what each case takes with both datasets, in turn; a case returns its CPU seconds, in total or a sample."""
    for name, case in cases.items():
        pair = {"before": lambda case=case: case(before), "after": lambda case=case: case(after)}
        seconds = interleave(pair, rounds, patient=False)
        times = statistics.median(b / a for a, b in zip(seconds["before"], seconds["after"], strict=True))
        report.add(
            work=work,
            case=name,
            before_us=round(1e6 * statistics.median(seconds["before"]), 3),
            after_us=round(1e6 * statistics.median(seconds["after"]), 3),
            times=round(times, 3),
            spread=spread(seconds["after"]),
        )
        report.target(f"{work}: {name}, against the dataset before", times, below=MOST)


def measure_deleted(report: Report, root: Path, args: argparse.Namespace) -> None:
    """Report `delete`, and what reading costs more afterwards."""
    count = round(SAMPLES * args.scale)
    num_deleted = min(DELETED, count // 4)
    folder = dataset(root / f"edited-{count}", samples(count), max_shard_bytes="64MiB")
    rng = np.random.default_rng(5)
    if shardpack.open(folder).manifest.generation == 1:
        keys = list(map(key_of, rng.choice(count, num_deleted, replace=False).tolist()))
        seconds = timed(lambda: shardpack.delete(folder, keys))
        report.add(edit="delete", deleted=num_deleted, samples=count, seconds=round(seconds, 3))
        report.target(f"delete {num_deleted:,} of {count:,}, seconds", seconds, below=1.0)
    else:
        report.leave_out("delete: an earlier run with this --work-dir did it")
    warm(folder)
    before, after = shardpack.open(folder, generation=1), shardpack.open(folder)
    for ds in (before, after):  # every shard open and mapped
        for position in rng.integers(len(after), size=max(READS, 200 * len(ds.shards))).tolist():
            _ = ds[position]
    positions = rng.integers(len(after), size=READS).tolist()
    per_read = {
        "ds[i]": lambda ds: one_by_one(ds, positions) / READS,
        f"get_many({BATCH})": lambda ds: together(ds, positions) / READS,
    }
    work = f"{num_deleted:,} deleted"
    compare(report, work, per_read, before=before, after=after, rounds=4 * args.rounds)
    epochs = {f"stream, {shuffle}": lambda ds, shuffle=shuffle: epoch(ds, shuffle) for shuffle in ORDERS}
    compare(report, work, epochs, before=before, after=after, rounds=args.rounds)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    measure_deleted(report, root, args)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
