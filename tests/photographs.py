"""Two hundred small photographs with labels of every kind: five crops of each of those in examples/images.

A sample has an image, a second one, a mask of class numbers, and a label in the one shape of
`shardpack/sources/label_shape.py`: class, captions, and annotations with boxes, polygons, run lengths, key points and
crowds, beside values of other kinds.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import shardpack
from tests.conftest import IMAGES

CLASSES = tuple(sorted(path.name for path in IMAGES.iterdir() if path.is_dir()))
SIZES = ((96, 72), (72, 96), (80, 80), (112, 64), (64, 64))  # of the crops
NUM_PHOTOGRAPHS = 200
NUM_TRAIN = 160  # the others are "val"
NUM_POINTS = 5  # key points of an object

Fields = dict[str, Any]


def split_of(number: int) -> str:
    """Return the split that a photograph is in."""
    return "train" if number < NUM_TRAIN else "val"


@functools.cache
def photographs() -> tuple[tuple[str, Fields], ...]:
    """Return (key, fields) of each sample; made in a fraction of a second, once in a process."""
    made: list[tuple[str, Fields]] = []
    for path in sorted(IMAGES.rglob("*.jpg")):
        with Image.open(path) as image:
            whole = image.convert("RGB").resize((160, 160), Image.Resampling.BILINEAR)
        for at, size in enumerate(SIZES):
            left, top = 7 * at, 48 - 9 * at
            crop = whole.crop((left, top, left + size[0], top + size[1]))
            made.append((f"{len(made):04d}-{path.parent.name}", _fields(len(made), crop, path.parent.name)))
    return tuple(made)


def write_photographs(folder: Path) -> shardpack.Dataset:
    """Return the dataset of all of them, in several shards of two splits."""
    with shardpack.ShardWriter(folder, classes=CLASSES, max_shard_samples=50) as writer:
        for number, (key, fields) in enumerate(photographs()):
            writer.write(key, fields, split=split_of(number))
    return shardpack.open(folder)


def resized(ds: shardpack.Dataset, folder: Path) -> shardpack.Dataset:
    """Return the dataset of their images and masks in one size, and without a second image, as arrays need it."""
    sizes: Fields = {"resize": "exact=32x32", "encode": {"jpg": "png"}, "image": "jpg", "keep": "mirror.jpg"}
    shardpack.pack(ds, folder, fields=["json", "png", "seg.png"], jobs=1, **sizes)
    return shardpack.open(folder)


def _fields(number: int, crop: Image.Image, name: str) -> Fields:
    parts = np.asarray(crop.convert("L")) // 64  # four regions, which stand for classes of pixels
    mirrored = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return {
        "jpg": _encoded(crop, "JPEG"),
        "mirror.jpg": _encoded(mirrored, "JPEG"),
        "seg.png": _encoded(Image.fromarray(parts), "PNG"),
        "json": _label(number, name, parts),
    }


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def _label(number: int, name: str, parts: np.ndarray) -> Fields:
    height, width = parts.shape
    return {
        "width": width,
        "height": height,
        "label": CLASSES.index(name),
        "class": name,
        "captions": [f"a photograph of {name}, no. {number}", "größer; 写真"][: 1 + number % 2],
        "score": number / 8,
        "sharp": number % 3 == 0,
        "tags": [f"tag {at}" for at in range(number % 3)],
        "annotations": [_annotation(number + at, parts, kind) for at, kind in enumerate(_KINDS[number % len(_KINDS)])],
    }


def _annotation(number: int, parts: np.ndarray, kind: str) -> Fields:
    """Return an annotation of this kind; numbers of categories are those that a source might have."""
    label = number % len(CLASSES)
    height, width = parts.shape
    x, y = number % 16, number % 11 + 0.5
    w, h = width / 2 + number % 8, height / 2 - number % 8
    annotation = {"bbox": [x, y, w, h], "category_id": 3 * label + 5, "label": label, "class": CLASSES[label]}
    area, iscrowd = w * h, 0
    if kind == "polygons":  # the left half, and a triangle beside it
        half = [x, y, x + w / 2, y, x + w / 2, y + h, x, y + h]
        triangle = [x + 3 * w / 4, y, x + w, y + h, x + w / 2, y + h]
        annotation["segmentation"] = [half, triangle]
        area = w * h * 3 / 4
    elif kind in ("runs", "crowd"):
        mask = parts == parts[0, 0]
        annotation["segmentation"] = {"size": [height, width], "counts": _runs(mask)}
        columns, rows = np.flatnonzero(mask.any(axis=0)).tolist(), np.flatnonzero(mask.any(axis=1)).tolist()
        annotation["bbox"] = [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]
        area, iscrowd = int(mask.sum()), int(kind == "crowd")
    elif kind == "points":
        points = [[x + at, y + 2 * at, at % 3] for at in range(NUM_POINTS)]
        annotation["keypoints"] = [value for point in points for value in (point if point[2] else [0, 0, 0])]
        annotation["num_keypoints"] = sum(point[2] > 0 for point in points)
    return {**annotation, "area": area, "iscrowd": iscrowd}


_KINDS = (("box", "polygons"), ("polygons", "points"), ("crowd", "runs"), ())


def _runs(mask: np.ndarray) -> list[int]:
    """Return the lengths of alternating runs of 0 and 1 down the columns, beginning with 0, as COCO has them."""
    flat = mask.T.reshape(-1).astype(np.int8)
    starts = np.flatnonzero(np.diff(flat, prepend=0))
    return np.diff([0, *starts, len(flat)]).tolist()
