"""Into shardpack from one file of 1 GB in each foreign format: `pack --from`, one job, beside a bare loop.

The bare loop reads the samples with the format's own reader (or, where we read it by hand, just the bytes of the file)
and gives them to a ShardWriter. Both run in fresh processes, in turn; seconds count the work, not the start.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from bridge_files import BRIDGES
from common import Report, run
from data import once
from measure import fresh, memory

import shardpack

FILE_BYTES = 1_000_000_000


def pack(source: Path, out: Path, name: str) -> dict[str, float]:
    """Pack a file in this (fresh) process; return what it took, in seconds, and MB."""
    source_format = None if BRIDGES[name].detected else name
    return _measured(lambda: shardpack.pack(source, out, source_format=source_format, jobs=1))


def bare(source: Path, out: Path, name: str) -> dict[str, float]:
    """Write the samples of a bare loop in this (fresh) process; return what it took, in seconds, and MB."""

    def write() -> None:
        with shardpack.ShardWriter(out, max_shard_bytes="256MiB") as writer:
            for key, fields in BRIDGES[name].read(source):
                writer.write(key, fields)

    return _measured(write)


def _measured(work) -> dict[str, float]:  # noqa: ANN001 - a function
    began, used = time.perf_counter(), _cpu_seconds()
    work()
    took = {"seconds": time.perf_counter() - began, "cpu": _cpu_seconds() - used}
    of_workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    return {**took, "peak": max(memory()["peak"], of_workers)}


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the workers that it has waited for."""
    user, system, of_workers, system_of_workers, _ = os.times()
    return user + system + of_workers + system_of_workers


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=list(BRIDGES), help="formats (default all)")


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    num_bytes = max(1_000_000, round(FILE_BYTES * args.scale))
    for name in args.only or BRIDGES:
        source = once(root / f"{num_bytes}.{name}", partial(BRIDGES[name].make, num_bytes))
        taken: dict[str, list[dict[str, float]]] = {"bare": [], "pack": []}
        for _ in range(args.rounds):
            for case, function in (("bare", bare), ("pack", pack)):
                out = root / "out"
                shutil.rmtree(out, ignore_errors=True)
                taken[case].append(fresh(partial(function, source, out, name)))
                shutil.rmtree(out)
        cpu = {case: statistics.median(took["cpu"] for took in runs) for case, runs in taken.items()}
        wall = {case: statistics.median(took["seconds"] for took in runs) for case, runs in taken.items()}
        for case, runs in taken.items():
            report.add(
                format=name,
                case=case,
                seconds=round(wall[case], 2),
                cpu_seconds=round(cpu[case], 2),
                mb_per_cpu_second=round(num_bytes / cpu[case] / 1e6),
                peak_mb=round(max(took["peak"] for took in runs)),
            )
        report.target(
            f"{name}: speed of pack, times the bare loop's (CPU time)", cpu["bare"] / cpu["pack"], at_least=0.6
        )
        report.target(f"{name}: peak memory of pack, MB", max(took["peak"] for took in taken["pack"]), below=500)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=3, add=options))
