"""What a balanced or weighted epoch of 100 million samples costs to set up, and its arithmetic for each slot.

    set-up    a fresh process: from an array in a map (positions by class, or weights) to the first 256 positions
    slots     microseconds of CPU a slot, of one rank of 8 with batches of 256, beside "global"

Synthetic: positions by class, and weights, are numbers in files, and no sample is read. Uses the arithmetic itself,
which needs no dataset. Memory: what the process has of its own, beyond the imports; pages of the map do not count.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import Report, run
from measure import fresh, memory

from shardpack.order.balanced import ClassOrders
from shardpack.order.epoch import EpochOrder
from shardpack.order.groups import Groups
from shardpack.order.options import Shuffle
from shardpack.order.partitions import Partitioning, RankSlice
from shardpack.order.view import SampleView
from shardpack.order.weighted import SampleOrders

SAMPLES, CLASSES, EPOCH = 100_000_000, 1000, 30
WORLD_SIZE, BATCH, PARTITIONS, PLANNED = 8, 256, 64, 8192
CASES = ("global", "balance", "weights of 1,000 values", "balance, 2 classes", "balance, 100,000 classes", "by sample")
LIMITED = (*CASES[1:3], CASES[-1])


def by_class(path: Path, count: int) -> None:
    """Write the stored positions of samples in shuffled order, class after class."""
    if not path.exists():
        np.random.default_rng(0).permutation(count).astype(np.uint32).tofile(path)


def weights(path: Path, count: int) -> None:
    """Write a weight for each sample."""
    if not path.exists():
        np.resize(np.random.default_rng(0).random(1_000_003), count).tofile(path)


def order_of(case: str, path: Path, count: int) -> Any:
    """Return an epoch's order, and the partitions of it."""
    parts = Partitioning(count, PARTITIONS, WORLD_SIZE * BATCH)
    if case == "global":
        return EpochOrder(None, Shuffle("global", 1), parts, EPOCH), parts
    if case == "by sample":
        view = SampleView(count, lambda: (np.array([0, count]), np.array([1])))
        own = np.asarray(np.memmap(path, np.float64, "r"))
        return SampleOrders(view, own, num_slots=count, seed=1).order(parts, EPOCH), parts
    classes = {"balance, 2 classes": 2, "balance, 100,000 classes": 100_000}.get(case, CLASSES)
    edges = np.linspace(0, count, classes + 1).astype(np.int64)  # unequal by one; how unequal makes no difference
    groups = Groups(tuple(f"{c:06d}" for c in range(classes)), edges, np.memmap(path, np.uint32, "r"))
    weights = range(1, classes + 1) if case.startswith("weights") else [1] * classes
    return ClassOrders(groups.without(()), tuple(weights), num_slots=count, seed=1).order(parts, EPOCH), parts


def costs(case: str, path: Path, count: int) -> dict[str, float]:
    """Return what an order costs, in this (fresh) process."""
    before, began = memory()["own"], time.perf_counter()
    order, parts = order_of(case, path, count)
    draw = order.items if case == "global" else order.samples
    ours = RankSlice(parts, 3, WORLD_SIZE)
    draw(*ours.locate(np.arange(BATCH)))
    seconds, own = time.perf_counter() - began, memory()["own"] - before
    planned, used = 0, 0.0
    for begin in range(0, min(len(ours), 64 * PLANNED), PLANNED):
        slots = ours.locate(np.arange(begin, min(begin + PLANNED, len(ours))))
        start = time.process_time()
        draw(*slots)
        used += time.process_time() - start
        planned += len(slots[0])
    return {"seconds": seconds, "own": own, "us": 1e6 * used / planned}


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(1_000_000, round(SAMPLES * args.scale))
    classes_path, weights_path = root / f"by-class-{count}", root / f"weights-{count}"
    by_class(classes_path, count)
    weights(weights_path, count)
    for case in CASES:
        path = weights_path if case == "by sample" else classes_path
        runs = [fresh(partial(costs, case, path, count)) for _ in range(args.rounds)]
        seconds, own, us = (median(run[name] for run in runs) for name in ("seconds", "own", "us"))
        report.add(order=case, samples=count, set_up_s=round(seconds, 3), own_MB=round(own, 1), us_a_slot=round(us, 3))
        if case in LIMITED:
            report.target(f"{case}: seconds to set up", seconds, below=1)
            report.target(f"{case}: MB of its own", own, below=200)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=3))
