"""Arrays of 224 x 224 x 3, uint8, batches of 64: an epoch of `npy` fields against one array in one file.

    memmap            batches copied out of one (N, 224, 224, 3) memmap, in order: what a file of nothing else gives
    memmap, shuffled  the same, of rows in a random order
    shardpack         `ds.loader`, stored order; shuffle="blocks"
    JPEGs             `ds.loader` on photographs of 500 x 375, brought to 224 x 224; a quarter as many

All are in the page cache. A round is one epoch. Each batch is memory of its own, and is dropped when the next
one is there. Seconds of CPU are those of all threads, in all runs, also in those that were disturbed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Report, run
from data import dataset, once, warm
from measure import interleave, ratio, timed
from recipe import packed_photos

import shardpack

BATCH, SHAPE, COUNT = 64, (224, 224, 3), 64 * 64


def pixels(i: int) -> Any:
    """Return the array of a sample."""
    return np.random.default_rng(i % 64).integers(0, 256, SHAPE, np.uint8) + np.uint8(i // 64)


def memmap_of(root: Path, count: int) -> Any:
    """Return the one array, made if it is not there yet."""

    def write(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = np.lib.format.open_memmap(folder / "all.npy", "w+", np.uint8, (count, *SHAPE))
        for i in range(count):
            file[i] = pixels(i)
        file.flush()

    return np.load(once(root / f"npy-{count}", write) / "all.npy", mmap_mode="r")


def samples(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the same arrays as samples."""
    return ((f"{i:06d}", {"npy": pixels(i)}) for i in range(count))


def copied(array: Any, order: Any | None) -> Iterator[Any]:
    """Yield batches that are copied out of the one array."""
    for at in range(0, len(array), BATCH):
        if order is None:
            yield np.array(array[at : at + BATCH])
        else:
            yield array[order[at : at + BATCH]]


def loaded(ds: shardpack.Dataset, shuffle: str) -> Callable[[], Iterator[Any]]:
    """Return a function that yields the batches of a loader, made once: its epochs share memory."""
    loader = ds.loader(BATCH, decode="rgb8", shuffle=shuffle)
    return lambda: (batch["npy"] for batch in loader)


def epoch(batches: Callable[[], Iterator[Any]], count: int, cpu: list[float]) -> Callable[[], float]:
    """Return a function that takes one epoch and returns its seconds; those of CPU go into a list."""

    def take() -> float:
        seen, busy, began = 0, time.process_time(), time.perf_counter()
        for batch in batches():
            seen += len(batch)
        assert seen == count
        cpu.append(time.process_time() - busy)
        return time.perf_counter() - began

    return take


def seconds_of_jpegs(root: Path, count: int, rounds: int) -> list[float]:
    """Return the seconds of an epoch over photographs, in each round."""
    packed = packed_photos(root, count)
    warm(packed)
    loader = shardpack.open(packed).loader(BATCH, decode="rgb8", size=SHAPE[0], shuffle="blocks")

    def take() -> float:
        return timed(lambda: sum(len(batch["jpg"]) for batch in loader))

    take()
    return interleave({"JPEGs": take}, rounds)["JPEGs"]


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(2, round(COUNT * args.scale) // BATCH) * BATCH
    array = memmap_of(root, count)
    packed = dataset(root / f"npy-{count}-packed", samples(count))
    warm(packed)
    warm(root / f"npy-{count}")
    ds = shardpack.open(packed)
    for i, batch in enumerate(loaded(ds, "none")()):
        if not np.array_equal(batch, array[i * BATCH : (i + 1) * BATCH]):
            sys.exit(f"batch {i} differs")
    order = np.random.default_rng(0).permutation(count)
    epochs: dict[str, Callable[[], Iterator[Any]]] = {
        "memmap": lambda: copied(array, None),
        "memmap, shuffled": lambda: copied(array, order),
        "shardpack": loaded(ds, "none"),
        "shardpack, blocks": loaded(ds, "blocks"),
    }
    cpu: dict[str, list[float]] = {name: [] for name in epochs}
    seconds = interleave(
        {name: epoch(batches, count, cpu[name]) for name, batches in epochs.items()}, rounds=args.rounds
    )
    num_bytes = count * int(np.prod(SHAPE))
    report.add_cases("npy epoch", seconds, per=count, unit="samples", peer="memmap", num_bytes=num_bytes)
    for name, busy in cpu.items():
        median, of_memmap = statistics.median(busy), statistics.median(cpu["memmap"])
        report.add(work="CPU of it", case=name, seconds=round(median, 6), times=f"{of_memmap / median:.2f}")
    report.target("stored order: times memmap", ratio(seconds["memmap"], seconds["shardpack"]), at_least=0.8)
    blocks = ratio(seconds["memmap, shuffled"], seconds["shardpack, blocks"])
    report.target("blocks: times memmap, shuffled", blocks, at_least=0.8)
    jpegs = seconds_of_jpegs(root, count // 4, args.rounds)
    report.add_cases("JPEG epoch", {"JPEGs": jpegs}, per=count // 4, unit="samples", peer="JPEGs")
    faster = 4 * statistics.median(jpegs) / statistics.median(seconds["shardpack, blocks"])
    report.target("npy, blocks: times the loader on JPEGs", faster, at_least=5)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
