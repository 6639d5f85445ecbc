"""The label table of 1,000,000 samples: made, its bytes a row, and `where` to a view, also after a deletion.

A sample is a tiny PNG and a label with a class and five numbers. `where` is asked in this process, page cache warm,
with the libraries loaded; what loading them takes is reported beside it.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import Report, run
from data import dataset, warm
from measure import timed

import shardpack

SAMPLES, CLASSES, DELETED = 1_000_000, 1000, 1000
MOST_BYTES, MOST_SECONDS, MOST_AFTER = 60, 0.5, 1.15
QUERIES = {
    "one class": "class = 'class0417' and width > 400",
    "a tenth, by number": "score < 0.1",
    "half, by two numbers": "width > height and year >= 1990",
    "a key": "key like '%/00123456'",
}


def png(width: int, height: int) -> bytes:
    """Return the first chunks of a PNG of this size; nobody looks at its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def samples(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield samples, sorted by class, as image folders are."""
    rng = np.random.default_rng(3)
    images = {size: png(*size) for size in {(w, h) for w in range(300, 600, 20) for h in range(300, 600, 20)}}
    sizes = list(images)
    for i in range(count):
        name = f"class{i * CLASSES // count:04d}"
        score, quality, angle = rng.random(3).tolist()
        label = {"class": name, "label": i * CLASSES // count, "score": score, "quality": quality, "angle": 360 * angle}
        label["year"] = 1980 + i * 7 % 45
        image = images[sizes[i * 31 % len(sizes)]]
        yield f"{name}/{i:08d}", {"json": json.dumps(label).encode(), "png": image}


def asked(ds: shardpack.Dataset, expression: str, rounds: int) -> tuple[float, float]:
    """Return the fewest seconds that a query takes, and of the CPU."""
    wall, cpu = [], []
    for _ in range(rounds):
        began = time.process_time()
        wall.append(timed(lambda: ds.where(expression)))
        cpu.append(time.process_time() - began)
    return min(wall), min(cpu)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = round(SAMPLES * args.scale)
    folder = dataset(root / f"table-{count}", samples(count), max_shard_bytes="256MiB")
    warm(folder)
    if shardpack.open(folder).manifest.generation == 1:
        seconds = timed(lambda: shardpack.table(folder))
        report.add(
            work="shardpack.table", rows=count, seconds=round(seconds, 2), rows_per_second=round(count / seconds)
        )
    else:
        report.leave_out("shardpack.table: an earlier run with this --work-dir made it")
    files = shardpack.open(folder).manifest.table
    per_row = sum(file.num_bytes for file in files) / count
    report.add(work="on disk", files=len(files), bytes_per_row=round(per_row, 1))
    report.target("bytes a row", per_row, below=MOST_BYTES)
    if shardpack.open(folder).manifest.generation == 2:
        step = max(1, count // min(DELETED, count // 4))
        shardpack.delete(
            folder, [key for i, key in enumerate(shardpack.open(folder).keys()) if i % step == 0][:DELETED]
        )
    before, after = shardpack.open(folder, generation=2), shardpack.open(folder)
    report.add(
        work="where, the first one, libraries loaded by it", seconds=round(timed(lambda: before.where("false")), 3)
    )
    for name, expression in QUERIES.items():
        seconds, cpu = asked(before, expression, 2 * args.rounds)
        _, edited_cpu = asked(after, expression, 2 * args.rounds)
        report.add(
            work=f"where: {name}",
            found=len(before.where(expression)),
            seconds=round(seconds, 3),
            cpu_seconds=round(cpu, 3),
            cpu_after_delete=round(edited_cpu, 3),
        )
        report.target(f"where, {name}: seconds", seconds, below=MOST_SECONDS)
        report.target(f"where, {name}: CPU after a deletion", edited_cpu / cpu, below=MOST_AFTER)
    for columns in (["class", "width"], None):
        seconds = min(timed(lambda columns=columns: before.table(columns)) for _ in range(args.rounds))
        report.add(work=f"table({columns or ''})", seconds=round(seconds, 3))


if __name__ == "__main__":
    sys.exit(run(measure, rounds=3))
