"""Decoded batches: JPEGs of 800 x 600 to uint8 RGB of 224 x 224, shuffled, batches of 64, on all CPUs.

    shardpack         `ds.loader`, as many threads as CPUs; Pillow or simplejpeg; whole or reduced-scale decoding;
                      resized by Pillow or OpenCV
    folder            an ImageFolder in all but name (torchvision is not needed): files
    webdataset        the same shards; samples shuffled in a buffer of 1000
    MosaicML          its own shards, StreamingDataset
    LitData           its own chunks, StreamingDataset

The peers decode with Pillow in torch's DataLoader (LitData: its StreamingDataLoader) with as many
worker processes as CPUs. They decode the whole image, as their documentation shows; "draft" are the
same with Pillow's reduced-scale decoding put in by hand. Workers persist: their start is not measured.
A round is one epoch, from asking for the first batch to holding the last one. Before, all that decode
whole images must deliver the very same pixels, and so must all that reduce; but for OpenCV.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, Report, run
from data import dataset, once, warm, write_files
from measure import interleave, ratio
from peers import HOW_TO_INSTALL, import_mosaicml, litdata_of, mds_of, missing
from PIL import Image
from xxhash import xxh3_64_intdigest

import shardpack

BATCH, SIDE, CLASSES = 64, 224, 10
CPUS = os.cpu_count() or 1
COUNT = 24 * BATCH  # two or more workers, each with whole batches: none waits for the other at the end
OURS: dict[str, dict[str, bool]] = {
    "shardpack, Pillow": {"fast_jpeg": False, "reduced": False},
    "shardpack, Pillow, reduced": {"fast_jpeg": False},
    "shardpack, simplejpeg": {"reduced": False, "fast_resize": False},
    "shardpack, simplejpeg, reduced": {"fast_resize": False},
    "shardpack, simplejpeg, OpenCV": {},
}
OTHER_PIXELS = "shardpack, simplejpeg, OpenCV"  # resized in another way


def images(count: int) -> Iterable[bytes]:
    """Yield photographs of 800 x 600, about 110 KB each: those of the examples, enlarged, with grain."""
    rng = np.random.default_rng(0)
    paths = sorted((ROOT / "examples" / "images").rglob("*.jpg"))
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
    """Return (a folder of class folders, a dataset) with the images, made if they are not there yet."""
    files = ((f"class{i % CLASSES}/{i:05d}.jpg", image) for i, image in enumerate(images(count)))
    folder = once(root / f"loader-{count}", lambda folder: write_files(folder, files))

    def samples() -> Iterator[tuple[str, dict[str, bytes]]]:
        paths = sorted(folder.rglob("*.jpg"))
        for i in np.random.default_rng(0).permutation(len(paths)).tolist():
            label = int(paths[i].parent.name.removeprefix("class"))
            key = paths[i].relative_to(folder).with_suffix("").as_posix()
            yield key, {"jpg": paths[i].read_bytes(), "json": b'{"label": %d}' % label}

    # As many shards for every worker of webdataset, all alike.
    shard_samples = count // (2 * CPUS)
    return folder, dataset(root / f"loader-{count}-even-packed", samples(), max_shard_samples=shard_samples)


def fields_of(packed: Path) -> Iterator[dict[str, bytes]]:
    """Yield the samples of a dataset as their fields."""
    return (dict(sample) for sample in shardpack.open(packed))


def decoded(file: Any, *, draft: bool) -> Any:
    """Return a image as users of Pillow and torch write it."""
    import torch

    with Image.open(file) as image:
        if draft:
            image.draft("RGB", (SIDE, SIDE))
        pixels = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(pixels))


class Folder:
    """torchvision's ImageFolder, as far as it matters here."""

    def __init__(self, root: Path, *, draft: bool):
        classes = sorted(path.name for path in root.iterdir())
        self.samples = [(str(path), classes.index(path.parent.name)) for path in sorted(root.rglob("*.jpg"))]
        self.draft = draft

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, i: int) -> tuple[Any, int]:
        path, label = self.samples[i]
        with open(path, "rb") as file:
            return decoded(file, draft=self.draft), label


def folder_loader(root: Path, *, draft: bool) -> Any:
    """Return the DataLoader of a folder."""
    from torch.utils.data import DataLoader

    return DataLoader(Folder(root, draft=draft), BATCH, shuffle=True, num_workers=CPUS, persistent_workers=True)


def prepared(sample: Any) -> tuple[Any, int]:
    """Return what a loader collates of a sample's payloads."""
    return decoded(io.BytesIO(sample["jpg"]), draft=False), int(json.loads(bytes(sample["json"]))["label"])


def prepared_draft(sample: Any) -> tuple[Any, int]:
    """Return the same with the image decoded at reduced scale."""
    return decoded(io.BytesIO(sample["jpg"]), draft=True), int(json.loads(bytes(sample["json"]))["label"])


def collated(samples: list[Any]) -> Any:
    """Return a batch; in the worker, like everything before."""
    from torch.utils.data import default_collate

    return default_collate([prepared(sample) for sample in samples])


def webdataset_loader(packed: Path, *, draft: bool) -> Any:
    """Return the DataLoader of a webdataset pipeline over the shards."""
    import webdataset

    urls = sorted(str(path) for path in packed.glob("*.tar"))
    pipeline = (
        webdataset.WebDataset(urls, shardshuffle=len(urls))
        .shuffle(1000)
        .map(prepared_draft if draft else prepared)
        .batched(BATCH)
    )
    return webdataset.WebLoader(pipeline, batch_size=None, num_workers=CPUS, persistent_workers=True)


def mosaicml_loader(folder: Path) -> Any:
    """Return the DataLoader of MosaicML's dataset."""
    from torch.utils.data import DataLoader

    dataset = import_mosaicml().StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH)
    return DataLoader(dataset, BATCH, num_workers=CPUS, persistent_workers=True, collate_fn=collated)


def litdata_loader(folder: Path) -> Any:
    """Return the StreamingDataLoader of LitData's dataset."""
    litdata = importlib.import_module("litdata")
    dataset = litdata.StreamingDataset(str(folder), shuffle=True)
    how = {"num_workers": CPUS, "persistent_workers": True, "collate_fn": collated}
    return litdata.StreamingDataLoader(dataset, batch_size=BATCH, **how)


def peer_loaders(report: Report, folder: Path, packed: Path) -> dict[str, Any]:
    """Return the loaders of the peers that are installed."""
    if missing("torch"):
        report.leave_out(f"all peers, for want of torch: {HOW_TO_INSTALL}")
        return {}
    found = {"folder": folder_loader(folder, draft=False), "webdataset": webdataset_loader(packed, draft=False)}
    for name, module, write, load in (
        ("MosaicML", "streaming", mds_of, mosaicml_loader),
        ("LitData", "litdata", litdata_of, litdata_loader),
    ):
        if missing(module):
            report.leave_out(f"{name}: {HOW_TO_INSTALL}")
            continue
        peer = write(fields_of(packed), folder.with_name(f"{folder.name}-{module}"))
        warm(peer)
        found[name] = load(peer)
    found["folder, draft"] = folder_loader(folder, draft=True)
    found["webdataset, draft"] = webdataset_loader(packed, draft=True)
    return found


def digest(loader: Any) -> tuple[int, int]:
    """Return (samples, sum of the hashes of their pixels) of an epoch, whatever its order; starts the workers."""
    count = total = 0
    for batch in loader:
        for image in np.asarray(batch["jpg"] if isinstance(batch, dict) else batch[0]):
            count, total = count + 1, total + xxh3_64_intdigest(image)
    return count, total % 2**64


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


def check(loaders: dict[str, Any]) -> None:
    """Compare the pixels of all loaders; end the program if those that decode alike differ."""
    found = {name: digest(loader) for name, loader in loaders.items() if name != OTHER_PIXELS}
    reducing = {name for name in found if name.endswith((", reduced", ", draft"))}
    for names in (reducing, found.keys() - reducing):
        if len({found[name] for name in names}) > 1:
            sys.exit(f"not the same pixels (samples, hash): { {name: found[name] for name in names} }")


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    count = max(2, round(COUNT * args.scale / (BATCH * CPUS))) * BATCH * CPUS
    folder, packed = made(root, count)
    warm(folder)
    warm(packed)
    ds = shardpack.open(packed)
    loaders = peer_loaders(report, folder, packed)
    loaders |= {name: ds.loader(BATCH, shuffle=True, decode="rgb8", size=SIDE, **how) for name, how in OURS.items()}
    check(loaders)
    os.sync()
    seconds = interleave({name: epoch(loader, count) for name, loader in loaders.items()}, args.rounds)
    first = next(iter(loaders))
    report.add_cases(f"photo, {count:,}", seconds, per=count, unit="samples", peer=first)
    whole = [name for name in loaders if name not in OURS and not name.endswith("draft")]
    drafts = [name for name in loaders if name.endswith("draft")]
    for name, peers, wanted in (
        ("shardpack, Pillow", whole, 1.0),
        ("shardpack, Pillow, reduced", drafts, 1.0),
        ("shardpack, simplejpeg, reduced", whole, 1.5),
        (OTHER_PIXELS, whole, 1.5),
    ):
        if peers:
            against, fastest = min((ratio(seconds[peer], seconds[name]), peer) for peer in peers)
            report.target(f"{name} against {fastest}", against, at_least=wanted)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=4))
