"""JSON labels of 2 KB in compressed shards (zstd:3, frames of 16 KiB) against libzstd alone, and against plain shards.

    size     of the shards / of the payloads alone, compressed in groups of 16 KiB at the same level
    random   ds[i], all positions in one order: / (plain ds[i] + 1.5 times decompressing its frame, in a bare loop)
    stream   an epoch in stored order: seconds of decompressing all frames one by one, in a bare loop / of the epoch

All are in the page cache. Seconds are those of the process's CPU, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard
from common import Report, run
from data import once, warm

import shardpack

COUNT, LEVEL, GROUP_BYTES = 40_000, 3, 16 << 10
WORDS = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "bench", "bird", "cat")


def payload(i: int) -> bytes:
    """Return a label like those of COCO: polygons, boxes, captions; 2 KB on average."""
    rng = random.Random(i)  # noqa: S311 - not for secrets
    annotations = []
    for _ in range(rng.randint(1, 5)):
        x, y = rng.uniform(0, 600), rng.uniform(0, 400)
        polygon = [round(rng.gauss(x if k % 2 else y, 40), 2) for k in range(2 * rng.randint(8, 45))]
        annotations.append(
            {
                "id": rng.randrange(10**6),
                "image_id": i,
                "category_id": rng.randint(1, 90),
                "iscrowd": 0,
                "area": round(rng.uniform(10, 90_000), 4),
                "bbox": [round(x, 2), round(y, 2), round(rng.uniform(1, 300), 2), round(rng.uniform(1, 300), 2)],
                "segmentation": [polygon],
            }
        )
    caption = " ".join(rng.choice(WORDS) for _ in range(rng.randint(6, 20)))
    return json.dumps({"file_name": f"{i:012d}.jpg", "caption": caption, "annotations": annotations}).encode()


def samples(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield the labels as samples."""
    return ((f"{i:08d}", {"json": payload(i)}) for i in range(count))


def cpu(function: Callable[[], object]) -> float:
    """Return the seconds of CPU one call takes."""
    began = time.process_time()
    function()
    return time.process_time() - began


def frames_of(folder: Path) -> list[bytes]:
    """Return all frames, as a user could cut them out: by what `locate` says."""
    found: dict[tuple[str, int], bytes] = {}
    for entry in shardpack.open(folder).entries():
        at = entry.fields["json"]
        key = at.url, at.stored.start
        if key not in found:
            with open(at.url, "rb") as file:
                file.seek(at.stored.start)
                found[key] = file.read(at.stored.length)
    return list(found.values())


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(1000, round(COUNT * args.scale))
    options = {"compress": {"shards": f"zstd:{LEVEL}"}, "frame_bytes": GROUP_BYTES}
    plain = once(root / f"labels-{count}", lambda folder: shardpack.pack(samples(count), folder))
    framed = once(root / f"labels-{count}-zst", lambda folder: shardpack.pack(samples(count), folder, **options))
    warm(plain)
    warm(framed)

    groups, group = [], b""
    for i in range(count):
        group += payload(i)
        if len(group) >= GROUP_BYTES:
            groups.append(group)
            group = b""
    compressor, decompressor = zstandard.ZstdCompressor(level=LEVEL), zstandard.ZstdDecompressor()
    alone = sum(len(compressor.compress(one)) for one in [*groups, group] if one)
    one, other = shardpack.open(plain), shardpack.open(framed)
    stored, tars = other.manifest.num_bytes, one.manifest.num_bytes
    report.add(case="size", MB=stored / 1e6, percent_of_tars=100 * stored / tars, alone_MB=alone / 1e6)
    report.target("shards / payloads alone", stored / alone, below=1.10)

    frames = frames_of(framed)
    draw = random.Random(0)  # noqa: S311 - not for secrets
    order = draw.sample(range(count), min(count, 20_000))
    seconds: dict[str, list[float]] = {name: [] for name in ("bare", "plain ds[i]", "ds[i]", "plain epoch", "epoch")}
    for _ in range(args.rounds):
        seconds["bare"].append(cpu(lambda: [None for frame in frames if not decompressor.decompress(frame)]))
        seconds["plain ds[i]"].append(cpu(lambda: [None for i in order if not one[i]]))
        seconds["ds[i]"].append(cpu(lambda: [None for i in order if not other[i]]))
        seconds["plain epoch"].append(cpu(lambda: [None for sample in one if not sample]))
        seconds["epoch"].append(cpu(lambda: [None for sample in other if not sample]))
    per_frame = [1e6 * value / len(frames) for value in seconds["bare"]]
    random_us = {name: [1e6 * value / len(order) for value in seconds[name]] for name in ("plain ds[i]", "ds[i]")}
    report.add(case="bare", us=statistics.median(per_frame), frames=len(frames))
    for name, values in random_us.items():
        report.add(case=name, us=statistics.median(values))
    for name in ("plain epoch", "epoch"):
        report.add(
            case=name, seconds=statistics.median(seconds[name]), us=1e6 * statistics.median(seconds[name]) / count
        )
    allowed = [a + 1.5 * b for a, b in zip(random_us["plain ds[i]"], per_frame, strict=True)]
    ratios = [a / b for a, b in zip(random_us["ds[i]"], allowed, strict=True)]
    report.target("random / (plain + 1.5 bare)", statistics.median(ratios), below=1.0)
    ratios = [a / b for a, b in zip(seconds["bare"], seconds["epoch"], strict=True)]
    report.target("bare / epoch", statistics.median(ratios), at_least=0.8)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
