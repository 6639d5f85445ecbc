"""Repairing a dataset whose `.shardpack/` is gone, against indexing its tars: `shardpack.repair` and `shardpack.index`.

Both read every byte and make the same indexes. Before, the repaired indexes, shard table and keys must be those of
packing, byte for byte. Page cache warm.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from common import Report, run
from data import TINY, packed, warm
from measure import interleave, ratio, spread, timed

import shardpack

SIDECARS = ".shardpack"


def without_sidecars(folder: Path, work: Callable[[Path], Any]) -> float:
    """Return the seconds of some work on tars alone."""
    shutil.rmtree(folder / SIDECARS)
    return timed(partial(work, folder))


def sidecars(folder: Path) -> dict[str, bytes]:
    """Return what is in the folder of sidecars, but for manifests."""
    paths = (path for path in (folder / SIDECARS).rglob("*") if path.suffix == ".index")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = TINY.scaled(args.scale)
    folder = root / "repaired"
    shutil.copytree(packed(work, root, max_shard_bytes="4MiB"), folder, dirs_exist_ok=True)
    before = sidecars(folder)
    shutil.rmtree(folder / SIDECARS)
    shardpack.repair(folder)
    if sidecars(folder) != before:
        sys.exit("the repaired dataset has other sidecars than the packed one")
    warm(folder)
    cases = {
        f"{call.__name__}, jobs={jobs}": partial(call, jobs=jobs)
        for call in (shardpack.index, shardpack.repair)
        for jobs in (1, 2)
    }
    seconds = interleave({name: partial(without_sidecars, folder, case) for name, case in cases.items()}, args.rounds)
    for name, found in seconds.items():
        each = round(1e6 * statistics.median(found) / work.num_samples, 2)
        report.add(case=name, samples=work.num_samples, us_a_sample=each, spread=spread(found))
    for jobs in (1, 2):
        slower = ratio(seconds[f"repair, jobs={jobs}"], seconds[f"index, jobs={jobs}"])
        report.target(f"repair / index, jobs={jobs}", slower, below=1.2)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=7))
