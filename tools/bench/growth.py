"""Cost against size: packing and seeking at 1,000 to 1,000,000 samples, as microseconds a sample.

Packed: a folder of class folders (one 512-byte image a sample, the label is made of the folder's
name), in this process with jobs=1; and the same samples from code, through `ShardWriter`. Files are
synced, so every dataset costs some milliseconds however small it is: "more" is what a sample more
costs, compared with the next smaller size, and that is what the targets look at. Sought: random positions, page cache
warm, in shards of 64 MiB; a bare `os.pread` on the same files shows what the memory itself costs
when more of it is in use.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from common import Report, run
from data import dataset, once, warm, write_files
from measure import interleave, spread, timed
from peers import spans
from seek import BATCH, shardpack_cases

import shardpack

SIZES = (1_000, 10_000, 100_000, 1_000_000)
IMAGE = bytes.fromhex("ffd8ff") + bytes(507) + bytes.fromhex("ffd9")
READS = 20_480
PER_FOLDER = 1_000
SHARD_BYTES = "64MiB"


def key_of(i: int) -> str:
    """Return the key of sample i."""
    return f"class{i // PER_FOLDER:05d}/{i:08d}"


def samples(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the samples as `shardpack.pack` takes them."""
    fields = {"jpg": IMAGE, "json": b'{"label": 0, "class": "class00000"}'}
    for i in range(count):
        yield key_of(i), fields


def folder_of(count: int, root: Path) -> Path:
    """Return a folder of the first images as files, made if it is not there yet."""
    images = ((f"{key_of(i)}.jpg", IMAGE) for i in range(count))
    return once(root / f"growth-{count}", lambda folder: write_files(folder, images))


def pack_cases(sizes: tuple[int, ...], root: Path) -> dict[str, Callable[[], float]]:
    """Return what packs each size, from a folder and from code."""
    out = root / "growth-out"

    def pack(source: Callable[[], object]) -> float:
        shutil.rmtree(out, ignore_errors=True)
        wanted = source()
        if isinstance(wanted, Path):
            warm(wanted)
        os.sync()
        jobs = 1 if isinstance(wanted, Path) else None
        return timed(lambda: shardpack.pack(wanted, out, jobs=jobs, max_shard_bytes=SHARD_BYTES))

    def often(count: int, source: Callable[[], object]) -> float:
        return statistics.median(pack(source) for _ in range(max(1, min(9, 20_000 // count))))

    cases: dict[str, Callable[[], float]] = {}
    for count in (1, *sizes):
        cases[f"folder {count}"] = lambda count=count: often(count, lambda: folder_of(count, root))
        cases[f"code {count}"] = lambda count=count: often(count, lambda: samples(count))
    return cases


def measure_packing(report: Report, sizes: tuple[int, ...], root: Path, rounds: int) -> None:
    """Report the cost of packing a sample at each size."""
    for count in (1, *sizes):
        folder_of(count, root)
    seconds = interleave(pack_cases(sizes, root), rounds)
    shutil.rmtree(root / "growth-out")
    for source in ("folder", "code"):
        before, before_count = statistics.median(seconds[f"{source} 1"]), 1
        more = []
        for count in sizes:
            found = seconds[f"{source} {count}"]
            median = statistics.median(found)
            more.append(1e6 * (median - before) / (count - before_count))
            before, before_count = median, count
            report.add(
                pack=source,
                samples=count,
                seconds=round(median, 4),
                us_a_sample=round(1e6 * median / count, 2),
                us_a_sample_more=round(more[-1], 2),
                spread=spread(found),
            )
        one = 1000 * statistics.median(seconds[f"{source} 1"])
        report.target(
            f"pack from {source}, one sample takes {one:.1f} ms; dearest more to cheapest",
            max(more) / min(more),
            below=1.2,
        )


def measure_seeking(report: Report, sizes: tuple[int, ...], root: Path, rounds: int) -> None:
    """Report the cost of reading a random sample at each size."""
    rng = np.random.default_rng(4)
    cases: dict[str, Callable[[], float]] = {}
    with ExitStack() as opened:
        for count in sizes:
            folder = dataset(root / f"growth-{count}-packed", samples(count), max_shard_bytes=SHARD_BYTES)
            ds = shardpack.open(folder)
            keys = [key_of(i) for i in range(count)]
            descriptors, where = spans(folder)
            for descriptor in descriptors:
                opened.callback(os.close, descriptor)
            for position in range(count):  # touch every page and every key
                _ = ds[position], ds[keys[position]]

            def pread(where: list[tuple[int, ...]] = where) -> float:
                wanted = [where[i] for i in rng.integers(len(where), size=READS).tolist()]
                began = time.process_time()
                for descriptor, start, size, label_start, label_size in wanted:
                    os.pread(descriptor, size, start)
                    os.pread(descriptor, label_size, label_start)
                return time.process_time() - began

            def ours(name: str, ds: shardpack.Dataset = ds, keys: list[str] = keys) -> float:
                return shardpack_cases(ds, rng.integers(len(ds), size=READS).tolist(), keys)[name]()

            for name in ("ds[i]", "ds[key]", f"get_many({BATCH})"):
                cases[f"{name} {count}"] = lambda ours=ours, name=name: ours(name)
            cases[f"two os.pread {count}"] = pread
        seconds = interleave(cases, rounds, patient=False)
    for name in ("two os.pread", "ds[i]", "ds[key]", f"get_many({BATCH})"):
        costs = {count: 1e6 * statistics.median(seconds[f"{name} {count}"]) / READS for count in sizes}
        report.add(us_a_sample=name, **{f"{count:,}": round(cost, 2) for count, cost in costs.items()})
        report.target(f"{name}: dearest size to cheapest", max(costs.values()) / min(costs.values()), below=1.2)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    sizes = tuple(max(10, round(count * args.scale)) for count in SIZES)
    measure_seeking(report, sizes, root, 4 * args.rounds)
    measure_packing(report, sizes, root, args.rounds)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
