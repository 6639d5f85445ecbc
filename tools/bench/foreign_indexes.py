"""Indexes for other readers, written from ours: 1,000,000 tiny samples of two fields in ten tars, and in one.

Each format is written in a fresh process, without hashes; its peak memory counts what the interpreter and our
libraries take as well.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from functools import partial
from pathlib import Path

from common import Report, run
from data import once
from measure import fresh, memory

import shardpack

SAMPLES = 1_000_000
FORMATS = ("dali", "energon", "wids", "webshart", "hfutils", "ratarmount", "croissant", "hf-card")


def make(num_samples: int, per_shard: int, folder: Path) -> None:
    with shardpack.ShardWriter(folder, max_shard_samples=per_shard) as writer:
        for i in range(num_samples):
            writer.write(f"class{i % 1000:03d}/{i:08d}", {"jpg": b"image", "json": b'{"label":1}'})


def export(folder: Path, out: Path, to: str) -> dict[str, float]:
    """Write one index in this (fresh) process; return what it took, in seconds, and MB."""
    with shardpack.open(folder) as ds:
        began, used = time.perf_counter(), time.process_time()
        shardpack.export(ds, out, to=to)
        took = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
    return {**took, "peak": memory()["peak"]}


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(100, round(SAMPLES * args.scale))
    for shards in (10, 1):
        folder = once(root / f"indexes-{count}-{shards}", partial(make, count, -(-count // shards)))
        for to in FORMATS:
            out = root / "exported"
            shutil.rmtree(out, ignore_errors=True)
            took = fresh(partial(export, folder, out, to))
            written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
            shutil.rmtree(out)
            report.add(
                samples=count,
                tars=shards,
                format=to,
                seconds=round(took["seconds"], 2),
                cpu_seconds=round(took["cpu"], 2),
                peak_mb=round(took["peak"]),
                written_mb=round(written / 1e6, 1),
            )
            report.target(f"{to}, {count:,} samples in {shards} tar(s), seconds", took["seconds"], below=20)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=1))
