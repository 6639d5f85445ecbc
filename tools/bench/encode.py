"""`pack --resize short=256 --encode jpg:q=90` of photos with 2 jobs, against a bare loop with the same libraries.

    bare         decode, resize, encode in 2 processes that are there already; nothing is written
    shardpack    `shardpack pack --jobs 2`, from the start of the command to the finished dataset

    memory       the largest process of `shardpack pack`, of all photos / of a quarter of them

The photos are those of examples/images, many times over, or those of --photos DIR. All are in the page cache.
Seconds of CPU are those of all processes.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import simplejpeg
from common import ROOT, Report, run
from data import once, warm
from measure import CLI, ratio
from PIL import Image

COUNT, JOBS, SIDE, QUALITY = 6_000, 2, 256, 90
BATCH = 16


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--photos", type=Path, metavar="DIR", help="folder with JPEGs")


def photos(source: Path, root: Path, count: int) -> Path:
    """Return a folder of `count` photos in class folders: copies of those of a source."""
    files = sorted(source.rglob("*.jpg"))

    def write(folder: Path) -> None:
        for number in range(count):
            file = files[number % len(files)]
            target = folder / file.parent.name / f"{number:06d}.jpg"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)

    return once(root / f"encode-{source.name}-{count}", write)


def convert(paths: Sequence[str]) -> tuple[int, float]:
    """Return (bytes, seconds of CPU) of photos that are decoded, resized and encoded."""
    total, began = 0, time.process_time()
    for path in paths:
        with open(path, "rb") as file:
            pixels = simplejpeg.decode_jpeg(file.read(), "RGB")
        height, width = pixels.shape[:2]
        image = Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)
        if min(height, width) > SIDE:
            scale = SIDE / min(height, width)
            image = image.resize((round(width * scale), round(height * scale)), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY, subsampling="4:2:0")
        total += buffer.tell()
    return total, time.process_time() - began


def bare(pool: ProcessPoolExecutor, paths: Sequence[str]) -> tuple[float, float]:
    """Return seconds (of wall, of CPU) of the bare loop."""
    left = iter(paths)
    batches = iter(lambda: list(islice(left, BATCH)), [])
    began = time.perf_counter()
    busy = sum(cpu for _, cpu in pool.map(convert, batches))
    return time.perf_counter() - began, busy


MEASURED = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6]))
"""


def packed(folder: Path, out: Path) -> tuple[float, float, float]:
    """Return (seconds of wall, of CPU, MB of the largest process) of the command."""
    shutil.rmtree(out, ignore_errors=True)
    options = [
        "--resize",
        f"short={SIDE}",
        "--encode",
        f"jpg:q={QUALITY}",
        "--jobs",
        JOBS,
        "--max-shard-bytes",
        "64MiB",
    ]
    command = [sys.executable, "-c", MEASURED, *CLI, "pack", folder, out, "--quiet", *options]
    done = subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE)
    wall, cpu, megabytes = json.loads(done.stdout)
    return wall, cpu, megabytes


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(400, round(COUNT * args.scale))
    source = args.photos or ROOT / "examples" / "images"
    folder, quarter = photos(source, root, count), photos(source, root, count // 4)
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    warm(folder)
    seconds: dict[str, list[tuple[float, float]]] = {"bare": [], "shardpack": []}
    memory: dict[str, list[float]] = {"all": [], "quarter": []}
    with ProcessPoolExecutor(JOBS, mp_context=get_context("spawn")) as pool:
        bare(pool, paths[: 4 * BATCH])  # starts both processes
        for _ in range(args.rounds):
            seconds["bare"].append(bare(pool, paths))
            *both, megabytes = packed(folder, root / "encoded")
            seconds["shardpack"].append((both[0], both[1]))
            memory["all"].append(megabytes)
            memory["quarter"].append(packed(quarter, root / "encoded-quarter")[2])
    for case, values in seconds.items():
        wall, cpu = (statistics.median(value) for value in zip(*values, strict=True))
        report.add(case=case, images_s=count / wall, ms_cpu=1e3 * cpu / count)
    for case, sizes in memory.items():
        report.add(case=f"memory, {case}", MB=statistics.median(sizes))
    for number, what in enumerate(("wall", "CPU")):
        one, other = ([value[number] for value in seconds[case]] for case in ("bare", "shardpack"))
        report.target(f"bare / shardpack, seconds of {what}", ratio(one, other), at_least=0.85)
    report.target("memory, all / quarter", ratio(memory["all"], memory["quarter"]), below=1.15)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=3, add=add))
