"""Memory of a plan: `shardpack.pack(..., dry_run=True)` on folders of up to 10 million files.

Each runs in a fresh process, whose peak resident memory counts; "a file" is what it grew by beyond the
imports. Real folders calibrate synthetic ones, whose `os.scandir` hands out made-up entries of the
same kind: name, path, and a `stat_result` kept once it was asked for, as CPython's DirEntry does.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from common import Report, run
from data import once, write_files
from measure import fresh, memory

import shardpack

PER_FOLDER = 10_000
ROOT_NAME = "/synthetic-source"
REAL = 200_000
SYNTHETIC = (200_000, 1_000_000, 10_000_000)
_real_scandir, _real_stat = os.scandir, os.stat


def name_of(i: int, *, pairs: bool) -> str:
    """Return the name of file i: images, or images with a label each."""
    return f"img_{i // 2:08d}.{'json' if i % 2 else 'jpg'}" if pairs else f"img_{i:08d}.jpg"


class Entry:
    """A directory entry as `os.scandir` yields it."""

    __slots__ = ("_is_file", "_status", "name", "path")

    def __init__(self, folder: str, name: str, *, is_file: bool) -> None:
        self.name, self.path = name, f"{folder}/{name}"
        self._is_file, self._status = is_file, None

    def is_file(self) -> bool:
        return self._is_file

    def is_dir(self) -> bool:
        return not self._is_file

    def is_symlink(self) -> bool:
        return False

    def stat(self) -> os.stat_result:
        if self._status is None:
            # Numbers as different as those of files: Python keeps an object for each.
            number = hash(self.name) % (1 << 40) + (1 << 40)
            moment = number / 1024
            times = (number, number + 1, number + 2, moment, moment + 1, moment + 2, number + 3, number + 4, number + 5)
            self._status = os.stat_result((0o100644, number + 6, 65024, 1, 0, 0, 4096, *times, 4096, 8, 0))
        return self._status


class Listing:
    """What `os.scandir` returns: an iterator and context manager."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries

    def __enter__(self) -> Iterator[Entry]:
        return self._entries

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Entry]:
        return self._entries


def patch_system(count: int, *, flat: bool, pairs: bool) -> None:
    """Make `os` see a folder of so many files at ROOT_NAME."""

    def scandir(path: Any = ".") -> Any:
        text = os.fspath(path)
        if not text.startswith(ROOT_NAME):
            return _real_scandir(path)
        if text == ROOT_NAME and not flat:
            folders = range(-(-count // PER_FOLDER))
            return Listing(Entry(text, f"class{i:05d}", is_file=False) for i in folders)
        first = 0 if flat else int(text[-5:]) * PER_FOLDER
        files = range(first, count if flat else min(first + PER_FOLDER, count))
        return Listing(Entry(text, name_of(i, pairs=pairs), is_file=True) for i in files)

    def stat(path: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str) and path.startswith(ROOT_NAME):
            return os.stat_result((0o40755, int(path[-5:]) if path != ROOT_NAME else -1, 1, 2, 0, 0, 4096, 0, 0, 0))
        return _real_stat(path, **options)

    os.scandir, os.stat = scandir, stat


def plan(task: dict[str, Any]) -> dict[str, float]:
    """Plan one folder in this (fresh) process; return peak memory and time."""
    if task["real"] is None:
        patch_system(task["files"], flat=task["flat"], pairs=task["pairs"])
    before = memory()["peak"] * 1e6
    began = time.perf_counter()
    try:
        shardpack.pack(task["real"] or ROOT_NAME, "/nowhere", dry_run=True, shuffle_seed=task["seed"])
    except TypeError:  # version 0.1
        shardpack.pack(task["real"] or ROOT_NAME, "/nowhere", dry_run=True, shuffle=task["seed"])
    return {"before": before, "peak": memory()["peak"] * 1e6, "seconds": time.perf_counter() - began}


def real_folder(root: Path, count: int, *, flat: bool) -> Path:
    """Return a folder of one-byte files with the same names."""
    inner = "" if flat else "class{:05d}/"
    files = ((inner.format(i // PER_FOLDER) + name_of(i, pairs=False), b"x") for i in range(count))
    return once(root / f"plan-{count}-{'flat' if flat else 'classes'}", lambda folder: write_files(folder, files))


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    def add(source: str, **task: Any) -> float:
        task = {"real": None, "flat": False, "pairs": False, "seed": None, **task}
        found = fresh(partial(plan, task))
        grown = found["peak"] - found["before"]
        report.add(
            source=source,
            folders="one" if task["flat"] else f"{PER_FOLDER:,} files each",
            sample="image + json" if task["pairs"] else "image",
            shuffle="no" if task["seed"] is None else "yes",
            files=task["files"],
            bytes_a_file=round(grown / task["files"]),
            peak_GiB=round(found["peak"] / 2**30, 2),
            us_a_file=round(1e6 * found["seconds"] / task["files"], 2),
        )
        return float(found["peak"] / 2**30)

    count = max(100, round(REAL * args.scale))
    for flat in (False, True):
        add("real", files=count, flat=flat, real=str(real_folder(root, count, flat=flat)))
    for files in (max(100, round(files * args.scale)) for files in SYNTHETIC):
        for flat, pairs, seed in ((False, False, None), (True, False, None), (False, True, None), (False, False, 0)):
            peak = add("synthetic", files=files, flat=flat, pairs=pairs, seed=seed)
            if files >= SYNTHETIC[-1]:
                last = report.rows[-1]
                what = f"10 million files, {last['folders']}, {last['sample']}, shuffle {last['shuffle']}: GiB"
                report.target(what, peak, below=4)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=1))
