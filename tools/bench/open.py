"""Opening: `shardpack.open` and the first sample of 1,000 shards, in this process, page cache warm.

--huge    also 100 million samples in 10,000 shards (indexes only, sparse tars; 10 GB of disk, some
          minutes to make, deleted afterwards unless --keep): a fresh process opens it and looks
          samples up at random, nearly each in a shard that it must open first.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, run
from data import Work, packed, warm
from measure import fresh, interleave, memory, timed

import shardpack

LOOKUPS = 2_000


def probe(folder: Path) -> list[dict[str, Any]]:
    """Open a dataset in this (fresh) process and look samples up; return what it took, in ms and MB."""
    from huge import key_of

    steps: list[dict[str, Any]] = []

    def step(name: str, seconds: list[float]) -> None:
        ordered = sorted(seconds)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        row = {"step": name, "median_ms": round(1000 * statistics.median(ordered), 3), "p99_ms": round(1000 * p99, 3)}
        steps.append({**row, "calls": len(ordered), **{name: round(mb, 1) for name, mb in memory().items()}})

    step("import only", [0.0])
    began = time.perf_counter()
    ds = shardpack.open(folder)
    step("open", [time.perf_counter() - began])
    step("first ds[key]", [timed(lambda: ds[key_of(len(ds) // 2)])])
    draw = random.Random(3)  # noqa: S311 - no secret
    wanted: dict[str, Callable[[int], Any]] = {
        "ds[key], any shard": lambda position: ds[key_of(position)],
        "ds[i], any shard": lambda position: ds[position],
        "ds[key], 100 hot shards": lambda position: ds[key_of(position % (len(ds) // 100))],
    }
    for name, look_up in wanted.items():
        positions = [draw.randrange(len(ds)) for _ in range(LOOKUPS)]
        assert look_up(positions[0]).position >= 0
        step(name, [timed(lambda position=position, call=look_up: call(position)) for position in positions])
    assert ds[key_of(len(ds) - 1)].position == len(ds) - 1
    return steps


def measure_huge(report: Report, folder: Path, scale: float) -> None:
    """Build the synthetic dataset if it is not there, and report what a fresh process finds."""
    from huge import Huge

    huge = Huge(folder, max(10, round(10_000 * scale)), 10_000, keys=True)
    if not folder.exists():
        huge.write()
    for path in folder.rglob("*.index"):
        path.read_bytes()
    found = fresh(partial(probe, folder))
    for row in found:
        report.add(**row)
    steps = {row["step"]: row for row in found}
    report.target("huge: open, ms", steps["open"]["median_ms"], below=100)
    report.target("huge: by key, median ms", steps["ds[key], any shard"]["median_ms"], below=1)
    report.target("huge: by key, p99 ms", steps["ds[key], any shard"]["p99_ms"], below=1)
    report.target("huge: resident, MB", max(row["resident"] for row in found), below=200)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = Work("shards", 10_000, 2048, 3072).scaled(args.scale)
    folder = packed(work, root, max_shard_samples=10)
    warm(folder)
    cases = {
        "shardpack.open": lambda: timed(lambda: shardpack.open(folder)),
        "shardpack.open, ds[0]": lambda: timed(lambda: shardpack.open(folder)[0]),
        "shardpack.open, ds[key]": lambda: timed(lambda: shardpack.open(folder)["class000/00000000"]),
    }
    seconds = {name: np.array(found) for name, found in interleave(cases, args.rounds, patient=False).items()}
    for name, found in seconds.items():
        row = {"median_ms": float(np.median(found)), "p99_ms": float(np.quantile(found, 0.99))}
        report.add(shards=work.num_samples // 10, case=name, **{k: round(1000 * v, 3) for k, v in row.items()})
    report.target("open and first sample, ms", 1000 * float(np.median(seconds["shardpack.open, ds[0]"])), below=3)
    if args.huge:
        folder = root / f"huge-{args.scale:g}"
        try:
            measure_huge(report, folder, args.scale)
        finally:
            if not args.keep:
                shutil.rmtree(folder, ignore_errors=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--huge", action="store_true", help="also open 100 million samples in 10,000 shards")
    parser.add_argument("--keep", action="store_true", help="keep the huge dataset in the work folder")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=200, add=add_options))
