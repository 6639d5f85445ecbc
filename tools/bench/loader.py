"""Decoded batches: JPEGs of 800 x 600 to uint8 RGB of 224 x 224, shuffled, batches of 64, on all CPUs.

    shardpack         `ds.loader`, as many threads as CPUs; Pillow or simplejpeg; whole or reduced-scale decoding
    folder            an ImageFolder in all but name (torchvision is not needed): files, Pillow,
                      torch's DataLoader with as many worker processes as CPUs
    webdataset        the same shards, Pillow, the same DataLoader; samples shuffled in a buffer of 1000

The peers decode the whole picture, as their documentation shows; "draft" are the same with Pillow's
reduced-scale decoding put in by hand. Workers persist: their start is not measured. A round is one epoch,
from asking for the first batch to holding the last one.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset
from common import ROOT, Report, options, work_folder
from data import warm
from measure import interleave, ratio
from PIL import Image

import shardpack

COUNT, BATCH, SIDE, CLASSES = 2_000, 64, 224, 10
CPUS = os.cpu_count() or 1


def pictures(count: int) -> Iterable[bytes]:
    """Yield photographs of 800 x 600, about 110 KB each: those of the examples, enlarged, with grain."""
    rng = np.random.default_rng(0)
    paths = sorted((ROOT / "examples" / "pictures").rglob("*.jpg"))
    for i in range(count):
        with Image.open(paths[i % len(paths)]) as image:
            left, top = (rng.random(2) * 0.2 * image.size).tolist()
            box = (left, top, left + 0.8 * image.width, top + 0.8 * image.height)
            pixels = np.asarray(image.convert("RGB").resize((800, 600), Image.Resampling.BICUBIC, box=box))
        grain = rng.normal(0, 9, (600, 800, 1)).astype(np.int16)
        buffer = io.BytesIO()
        Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        yield buffer.getvalue()


def made(root: Path, count: int) -> tuple[Path, Path]:
    """Return (a folder of class folders, a dataset) with the pictures, made if they are not there yet."""
    folder, packed = root / f"loader-{count}", root / f"loader-{count}-packed"
    if not (packed / "shardpack.json").exists():
        for i, picture in enumerate(pictures(count)):
            path = folder / f"class{i % CLASSES}" / f"{i:05d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture)
        shardpack.pack(folder, packed, max_shard_bytes="32MiB", shuffle=True, force=True)
    return folder, packed


def decoded(file: Any, *, draft: bool) -> torch.Tensor:
    """Return a picture as users of Pillow write it."""
    with Image.open(file) as image:
        if draft:
            image.draft("RGB", (SIDE, SIDE))
        pixels = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(pixels))


class Folder(torch.utils.data.Dataset):  # type: ignore[misc]
    """torchvision's ImageFolder, as far as it matters here."""

    def __init__(self, root: Path, *, draft: bool):
        classes = sorted(path.name for path in root.iterdir())
        self.samples = [(str(path), classes.index(path.parent.name)) for path in sorted(root.rglob("*.jpg"))]
        self.draft = draft

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        path, label = self.samples[i]
        with open(path, "rb") as file:
            return decoded(file, draft=self.draft), label


def folder_loader(root: Path, *, draft: bool) -> Any:
    """Return the DataLoader of a folder."""
    return torch.utils.data.DataLoader(
        Folder(root, draft=draft), BATCH, shuffle=True, num_workers=CPUS, persistent_workers=True
    )


def webdataset_loader(packed: Path, *, draft: bool) -> Any:
    """Return the DataLoader of a webdataset pipeline over the shards."""

    def prepared(sample: dict[str, Any]) -> tuple[torch.Tensor, int]:
        return decoded(io.BytesIO(sample["jpg"]), draft=draft), int(json.loads(sample["json"])["label"])

    urls = sorted(str(path) for path in packed.glob("*.tar"))
    pipeline = webdataset.WebDataset(urls, shardshuffle=len(urls)).shuffle(1000).map(prepared).batched(BATCH)
    return webdataset.WebLoader(pipeline, batch_size=None, num_workers=CPUS, persistent_workers=True)


def epoch(loader: Any, count: int) -> Callable[[], float]:
    """Return a function that takes one epoch and returns its seconds."""

    def run() -> float:
        began, seen = time.perf_counter(), 0
        for batch in loader:
            seen += len(batch["__key__"] if isinstance(batch, dict) else batch[0])
        seconds = time.perf_counter() - began
        if seen != count:
            sys.exit(f"{seen} samples instead of {count}")
        return seconds

    return run


def main() -> int:
    args = options(__doc__, rounds=7).parse_args()
    count = max(4 * BATCH, round(COUNT * args.scale))
    report = Report("loader", args)
    with work_folder(args) as root:
        folder, packed = made(root, count)
        warm(folder)
        warm(packed)
        ds = shardpack.open(packed)
        ours = {
            "shardpack, Pillow": {"fast_jpeg": False, "reduced": False},
            "shardpack, Pillow, reduced": {"fast_jpeg": False},
            "shardpack, simplejpeg": {"reduced": False},
            "shardpack, simplejpeg, reduced": {},
        }
        loaders = {
            "folder": folder_loader(folder, draft=False),
            "webdataset": webdataset_loader(packed, draft=False),
            "folder, draft": folder_loader(folder, draft=True),
            "webdataset, draft": webdataset_loader(packed, draft=True),
        }
        loaders |= {name: ds.loader(BATCH, shuffle=True, decode="rgb8", size=SIDE, **how) for name, how in ours.items()}
        cases = {name: epoch(loader, count) for name, loader in loaders.items()}
        for run in cases.values():
            run()  # starts the workers
        # Not patient: persistent workers would count as other processes that disturb.
        seconds = interleave(cases, args.rounds, patient=False)
    report.add_cases(f"photo, {count:,}", seconds, per=count, unit="samples", peer="folder")
    for name, peers, wanted in (
        ("shardpack, Pillow", ("folder", "webdataset"), 1.0),
        ("shardpack, Pillow, reduced", ("folder, draft", "webdataset, draft"), 1.0),
        ("shardpack, simplejpeg, reduced", ("folder", "webdataset"), 1.5),
    ):
        fastest = min((ratio(seconds[peer], seconds[name]), peer) for peer in peers)
        report.target(f"{name} against {fastest[1]}", fastest[0], at_least=wanted)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
