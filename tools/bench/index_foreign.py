"""Indexing tars that webdataset wrote: `shardpack.index` against other ways to find their members.

shardpack reads every byte and checksums it, and syncs the indexes to the disk; `getmembers` and
`tar tf` seek past the payloads. (wids, webdataset's own indexer, is gone since webdataset 1.0.)
Page cache warm.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

from common import Report, run
from data import TINY, Work, once, warm
from measure import CLI, interleave, ratio, run_process, spread, timed
from peers import write_webdataset

import shardpack

MEMBERS = 2  # a sample


def tars_of(work: Work, root: Path, **mtime: int) -> Path:
    """Return a folder of tars written by webdataset, made if it is not there yet."""
    name = f"{work.name}-{work.num_samples}-webdataset{'-mtime0' * bool(mtime)}"
    return once(root / name, lambda folder: write_webdataset(work.samples(), folder, **mtime))


def stream_all(tar: Path) -> None:
    """Read a tar with Python from end to end, payloads too, as webdataset does."""
    with tarfile.open(tar, "r|") as stream:
        for member in stream:
            file = stream.extractfile(member)
            if file is not None:
                file.read()


def cases(folder: Path) -> dict[str, Callable[[], float]]:
    """Return the ways to compare."""
    tars = sorted(folder.glob("*.tar"))

    def members() -> None:
        for tar in tars:
            with tarfile.open(tar) as opened:
                opened.getmembers()

    def read_all() -> None:
        for tar in tars:
            with open(tar, "rb", buffering=0) as file:
                while file.read(1 << 20):
                    pass

    listing = ["sh", "-c", 'for tar; do tar tf "$tar" > /dev/null; done', "sh", *map(str, tars)]
    return {
        "tarfile getmembers": lambda: timed(members),
        "tarfile stream, payloads read": lambda: timed(lambda: [stream_all(tar) for tar in tars]),
        "tar tf": lambda: run_process(listing),
        "read all bytes": lambda: timed(read_all),
        "shardpack.index, jobs=1": lambda: timed(lambda: shardpack.index(folder, jobs=1, force=True)),
        "shardpack.index, jobs=2": lambda: timed(lambda: shardpack.index(folder, jobs=2, force=True)),
        "shardpack index --jobs 2": lambda: run_process([*CLI, "index", folder, "--jobs", "2", "--force"]),
        'shardpack.open(index="memory")': lambda: timed(lambda: shardpack.open(folder, index="memory")),
    }


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = TINY.scaled(args.scale)
    for name, mtime in (("mtime=0", {"mtime": 0}), ("default, pax headers", {})):
        folder = tars_of(work, root, **mtime)
        warm(folder)
        seconds = interleave(cases(folder), args.rounds)
        for case, found in seconds.items():
            report.add(
                tars=name,
                case=case,
                us_a_member=round(1e6 * statistics.median(found) / work.num_samples / MEMBERS, 2),
                times=f"{ratio(seconds['tarfile getmembers'], found):.2f}",
                spread=spread(found),
            )


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
