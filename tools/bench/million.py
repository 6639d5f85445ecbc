"""A million shards of 10,000 samples each: opening, the first sample, and the order of an epoch.

    local     in a fresh process: `shardpack.open` and samples, in ms and MiB
    bucket    behind 30 ms: one after the other, how many requests, round trips and bytes
    order     the first sample of a "blocks" epoch in blocks of 64 MiB, in a fresh process: seconds and memory

The dataset is synthetic (`huge.py`): its tables are whole, its shards are links to one. MiB are those that the
process has more at its peak than after importing shardpack. Round trips are counted behind 300 ms, where what
the processor takes is lost.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import pytest
from bucket_served import LATENCY, TRIP, Prefix, import_servers, serve, watched
from common import Report, run
from huge import Huge
from measure import fresh, memory

import shardpack

SHARDS, SHARD_SAMPLES = 1_000_000, 10_000
BATCH = 256


def look_up(folder: Path) -> list[tuple[str, float, float]]:
    """Return (what, ms, MiB at the peak so far) of a (fresh) process that opens a dataset and takes samples."""
    before, found = memory()["peak"], []
    began = time.perf_counter()

    def note(what: str) -> None:
        nonlocal began
        found.append((what, 1000 * (time.perf_counter() - began), (memory()["peak"] - before) * 1e6 / 2**20))
        began = time.perf_counter()

    ds = shardpack.open(folder)
    note("open")
    _ = ds[0]["json"]
    note("first sample")
    draw = random.Random(6)  # noqa: S311 - no secret
    for _ in range(1_000):
        _ = ds[draw.randrange(len(ds))]["json"]
    note("1,000 random samples")
    return found


def first_of_epoch(folder: Path) -> tuple[float, float, float]:
    """Return (seconds until a stream is made, until it has given a sample, GB at the peak) of a (fresh) process."""
    ds = shardpack.open(folder)
    before, began = memory()["peak"], time.perf_counter()
    stream = ds.stream(shuffle="blocks", seed=1, batch_size=BATCH, block_bytes="64MiB")
    made = time.perf_counter() - began
    next(iter(stream))
    return made, time.perf_counter() - began, (memory()["peak"] - before) / 1000


def measure_local(report: Report, huge: Huge, rounds: int) -> None:
    runs = [fresh(partial(look_up, huge.folder)) for _ in range(rounds)]
    for at, (what, _, _) in enumerate(runs[0]):
        ms, mib = (median(run[at][column] for run in runs) for column in (1, 2))
        report.add(local=what, shards=huge.num_shards, ms=round(ms, 2), MiB_more=round(mib, 1))
    opened = median(run[0][1] + run[1][1] for run in runs)
    report.target("local: open and first sample, ms", opened, below=100)
    report.target("local: open and first sample, MiB", median(run[1][2] for run in runs), below=200)


def measure_order(report: Report, huge: Huge) -> None:
    made, first, gigabytes = fresh(partial(first_of_epoch, huge.folder))
    row = {"stream_s": round(made, 2), "first_sample_s": round(first, 2), "GB_more": round(gigabytes, 3)}
    report.add(order='"blocks" of 64 MiB', shards=huge.num_shards, **row)
    report.target("order: seconds to the first sample", first, below=10)
    report.target("order: GB", gigabytes, below=3)


def measure_bucket(report: Report, huge: Huge, rounds: int) -> None:
    with ExitStack() as stack:
        served = serve(huge.folder.parent, stack)
        for title, proxy, latency in (("30 ms", served.plain, LATENCY), ("300 ms", served.trips, TRIP)):
            prefix = served.prefix(huge.folder, proxy)
            first_sample(prefix)  # imports the client
            runs = [watched(proxy, partial(first_sample, prefix)) for _ in range(rounds)]
            trips = median(seconds for seconds, _ in runs) / latency
            stats = runs[-1][1]
            report.add(
                bucket=f"open and first sample behind {title}",
                requests=stats["num_requests"],
                MB=round(stats["num_bytes"] / 1e6, 3),
                seconds=round(trips * latency, 3),
                round_trips=round(trips, 2),
            )
        report.target("bucket: round trips", trips, below=6)
        report.target("bucket: MB", stats["num_bytes"] / 1e6, below=2)


def first_sample(prefix: Prefix) -> None:
    """Open a dataset in the bucket and take one sample from its middle."""
    ds = shardpack.open(prefix.url, storage_options=prefix.options)
    _ = ds[len(ds) // 2 + 1]["json"]


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    huge = Huge(root / f"million-{args.scale:g}", max(10, round(SHARDS * args.scale)), SHARD_SAMPLES, keys=False)
    try:
        if not huge.folder.exists():
            huge.write()
        measure_local(report, huge, args.rounds)
        measure_order(report, huge)
        import_servers()
        try:
            measure_bucket(report, huge, args.rounds)
        except pytest.skip.Exception as reason:  # how the servers of tests/ say it
            report.leave_out(str(reason))
    finally:
        if not args.keep:
            shutil.rmtree(huge.folder, ignore_errors=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="keep the dataset in the work folder")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5, add=add_options))
