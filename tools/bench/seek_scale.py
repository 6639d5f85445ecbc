"""Random access against the number of shards, page cache warm: the same tiny samples cut into 1 to 1,000 shards.

`ds[i]` and `get_many(256)` at random positions over the whole dataset, so that nearly each falls into another
shard than the one before. Everything has been touched before: what differs is what a shard more costs. Nothing
here waits for anything, so the seconds are those of the CPU.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from common import Report, run
from data import TINY, packed, warm
from measure import interleave, ratio
from seek import BATCH, one_by_one, together

import shardpack

SHARDS = (1, 50, 100, 200, 1_000)
READS = 40 * BATCH
MANY = f"get_many({BATCH})"


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = TINY.scaled(max(args.scale, SHARDS[-1] / TINY.num_samples))
    rng = np.random.default_rng(5)
    opened: dict[int, shardpack.Dataset] = {}
    for shards in SHARDS:
        folder = packed(work, root, max_shard_samples=-(-work.num_samples // shards))
        warm(folder)
        opened[shards] = shardpack.open(folder)
        one_by_one(opened[shards], range(len(opened[shards])))
    ways = {"ds[i]": one_by_one, MANY: together}

    def case(name: str, shards: int) -> float:
        return ways[name](opened[shards], rng.integers(work.num_samples, size=READS).tolist())

    cases = {f"{name} {shards}": lambda n=name, s=shards: case(n, s) for shards in SHARDS for name in ways}
    seconds = interleave(cases, args.rounds, patient=False)
    for shards in SHARDS:
        costs = {name: 1e6 * statistics.median(seconds[f"{name} {shards}"]) / READS for name in ways}
        speed = ratio(seconds[f"ds[i] {shards}"], seconds[f"{MANY} {shards}"])
        report.add(
            shards=shards,
            samples=work.num_samples,
            **{f"{name}, us": round(cost, 2) for name, cost in costs.items()},
            times=round(speed, 2),
        )
        if shards in {1, 50, 200, 1_000}:
            report.target(f"{shards:,} shards: {MANY} as fast as a loop of ds[i]", speed, at_least=1)
    slower = ratio(seconds["ds[i] 1000"], seconds["ds[i] 100"])
    report.target("ds[i]: time at 1,000 shards / at 100", slower, below=1.3)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=21))
