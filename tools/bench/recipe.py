"""Training batches of ImageNet's recipe: JPEGs of 500 x 375 to random parts of 224 x 224, half of them mirrored.

    bare loop     simplejpeg and OpenCV in as many threads as CPUs, payloads in memory, into batches that are used again
    shardpack     `ds.loader(64, size=224, crop="random", flip=0.5)`, as many threads as CPUs, stored order and shuffled
    webdataset    the same shards; samples shuffled in a buffer of 1000
    MosaicML      its own shards, StreamingDataset
    LitData       its own chunks, StreamingDataset

The peers decode, crop and resize with Pillow, as torchvision's `RandomResizedCrop` and `RandomHorizontalFlip` do, in
torch's DataLoader (LitData: its StreamingDataLoader) with as many worker processes as CPUs. Workers persist: their
start is not measured. A round is one epoch, from asking for the first batch to holding the last one.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import math
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Report, run
from data import dataset, warm
from loader import epoch, fields_of
from measure import interleave, ratio, timed
from peers import HOW_TO_INSTALL, import_mosaicml, litdata_of, mds_of, missing
from PIL import Image

import shardpack

BATCH, SIDE, WIDTH, HEIGHT = 64, 224, 500, 375
CPUS = os.cpu_count() or 1
COUNT = 32 * BATCH
SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def photos(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield photographs of the size that is usual in ImageNet, about 60 KB each: those of the examples, with grain."""
    rng = np.random.default_rng(0)
    paths = sorted((ROOT / "examples" / "images").rglob("*.jpg"))
    for i in range(count):
        with Image.open(paths[i % len(paths)]) as image:
            left, top = (rng.random(2) * 0.2 * image.size).tolist()
            box = (left, top, left + 0.8 * image.width, top + 0.8 * image.height)
            pixels = np.asarray(image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box))
        grain = rng.normal(0, 6, (HEIGHT, WIDTH, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=88)
        yield f"{i:06d}", {"jpg": buffer.getvalue(), "json": b'{"label": %d}' % (i % 10)}


def random_box(width: int, height: int, rng: random.Random) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom), drawn as torchvision draws it."""
    for _ in range(10):
        area = width * height * rng.uniform(*SCALE)
        aspect = math.exp(rng.uniform(*map(math.log, RATIO)))
        wide, tall = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < wide <= width and 0 < tall <= height:
            left, top = rng.randint(0, width - wide), rng.randint(0, height - tall)
            return left, top, left + wide, top + tall
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2


def bare_loop(payloads: list[bytes]) -> None:
    """Decode, crop, resize and mirror everything once, in threads, with nothing around it."""
    import cv2
    import simplejpeg

    batches = [np.empty((BATCH, SIDE, SIDE, 3), np.uint8) for _ in range(4)]

    def work(number: int) -> None:
        rng = random.Random(number)  # noqa: S311 -- as torchvision draws
        for i in range(number, len(payloads), CPUS):
            row = batches[i // BATCH % len(batches)][i % BATCH]
            height, width, _, _ = simplejpeg.decode_jpeg_header(payloads[i])
            left, top, right, bottom = random_box(width, height, rng)
            spare = min((right - left) // SIDE, (bottom - top) // SIDE)
            scale = next((scale for scale in (8, 4, 2) if scale <= spare), 1)
            reduced = {} if scale == 1 else {"min_height": -(-height // scale), "min_width": -(-width // scale)}
            pixels = simplejpeg.decode_jpeg(payloads[i], **reduced)
            part = pixels[top // scale : bottom // scale, left // scale : right // scale]
            cv2.resize(part, (SIDE, SIDE), dst=row)
            if rng.random() < 0.5:
                cv2.flip(row, 1, dst=row)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CPUS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def prepared(sample: Any) -> tuple[Any, int]:
    """Return what a peer's loader collates of a sample's payloads."""
    import torch

    rng = random.Random()  # noqa: S311 -- as torchvision draws
    with Image.open(io.BytesIO(sample["jpg"])) as image:
        image.load()
        part = image.convert("RGB").crop(random_box(image.width, image.height, rng))
    part = part.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return torch.from_numpy(np.array(part)), int(json.loads(bytes(sample["json"]))["label"])


def collated(samples: list[Any]) -> Any:
    """Return a batch; in the worker, like everything before."""
    from torch.utils.data import default_collate

    return default_collate([prepared(sample) for sample in samples])


def peer_loaders(report: Report, packed: Path) -> dict[str, Any]:
    """Return the loaders of the peers that are installed."""
    if missing("torch"):
        report.leave_out(f"all peers, for want of torch: {HOW_TO_INSTALL}")
        return {}
    import webdataset
    from torch.utils.data import DataLoader

    workers: dict[str, Any] = {"num_workers": CPUS, "persistent_workers": True}
    urls = sorted(str(path) for path in packed.glob("*.tar"))
    pipeline = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).map(prepared).batched(BATCH)
    found: dict[str, Any] = {"webdataset": webdataset.WebLoader(pipeline, batch_size=None, **workers)}
    if missing("streaming"):
        report.leave_out(f"MosaicML: {HOW_TO_INSTALL}")
    else:
        folder = mds_of(fields_of(packed), packed.with_name(f"{packed.name}-mds"))
        warm(folder)
        mosaicml = import_mosaicml().StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
        found["MosaicML"] = DataLoader(mosaicml, BATCH, collate_fn=collated, **workers)
    if missing("litdata"):
        report.leave_out(f"LitData: {HOW_TO_INSTALL}")
    else:
        folder = litdata_of(fields_of(packed), packed.with_name(f"{packed.name}-litdata"))
        warm(folder)
        litdata = importlib.import_module("litdata")
        streaming = litdata.StreamingDataset(str(folder), shuffle=True)
        found["LitData"] = litdata.StreamingDataLoader(streaming, batch_size=BATCH, collate_fn=collated, **workers)
    return found


def packed_photos(root: Path, count: int) -> Path:
    """Return a dataset of photographs, written if it is not there yet; as many shards for each worker of webdataset."""
    return dataset(root / f"recipe-{count}-packed", photos(count), max_shard_samples=count // (2 * CPUS))


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(2, round(COUNT * args.scale / (BATCH * CPUS))) * BATCH * CPUS
    packed = packed_photos(root, count)
    warm(packed)
    ds = shardpack.open(packed)
    payloads = [bytes(sample["jpg"]) for sample in ds.stream()]
    how: dict[str, Any] = {"decode": "rgb8", "size": SIDE, "crop": "random", "flip": 0.5, "threads": CPUS}
    cases: dict[str, Callable[[], float]] = {"bare loop": lambda: timed(lambda: bare_loop(payloads))}
    loaders = {
        "shardpack": ds.loader(BATCH, **how),
        "shardpack, shuffled": ds.loader(BATCH, shuffle=True, **how),
        "shardpack, Pillow": ds.loader(BATCH, shuffle=True, fast_jpeg=False, **how),
    }
    peers = peer_loaders(report, packed)
    for name, loader in (loaders | peers).items():
        cases[name] = epoch(loader, count)
    for case in cases.values():
        case()  # starts the workers, opens the shards
    os.sync()
    seconds = interleave(cases, args.rounds)
    report.add_cases(f"{WIDTH} x {HEIGHT}, {count:,}", seconds, per=count, unit="samples", peer="bare loop")
    for name in ("shardpack", "shardpack, shuffled"):
        report.target(f"{name}: times the bare loop", ratio(seconds["bare loop"], seconds[name]), at_least=0.85)
    if peers:
        against, fastest = min((ratio(seconds[peer], seconds["shardpack, shuffled"]), peer) for peer in peers)
        report.target(f"shardpack, shuffled: times {fastest}", against, at_least=1.5)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=4))
