"""A dataset with boxes, polygons, key points and captions."""

from __future__ import annotations

import shardpack
from tests.conftest import make_jpeg

CLASSES = ("cat", "dog", "bird")


def labelled(width=32, height=24, annotations=(), **more):
    """Return a sample with a label in the one shape."""
    return {
        "jpg": make_jpeg(width, height),
        "json": {"width": width, "height": height, **more, "annotations": list(annotations)},
    }


def box(label, x, y, w, h, **more):
    """Return an annotation of a class."""
    return {"bbox": [x, y, w, h], "category_id": 10 * label + 7, "label": label, "class": CLASSES[label], **more}


def dataset(folder, samples, *, classes=CLASSES, split=lambda _: None):
    """Return the dataset of these samples; `split` tells that of each key."""
    with shardpack.ShardWriter(folder, classes=classes, max_shard_samples=2) as writer:
        for key, fields in samples.items():
            writer.write(key, fields, split=split(key))
    return shardpack.open(folder)


SAMPLES = {
    "train/a": labelled(annotations=[box(0, 1, 2, 10, 12), box(1, 0, 0, 32, 24)]),
    "train/b": labelled(40, 50, [box(1, 0.5, 0.25, 3.125, 40.0)]),
    "val/c": labelled(annotations=[]),
}
