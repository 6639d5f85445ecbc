"""Builders for tests of exports: small datasets with images and labels of all kinds."""

from __future__ import annotations

import shardpack
from tests.conftest import make_jpeg
from tests.fakes import contents

CLASSES = ("cat", "dog")


def classified(count: int = 6) -> dict[str, dict[str, object]]:
    """Return samples in two classes."""
    return {
        f"{CLASSES[i % 2]}/{i:04d}": {"jpg": make_jpeg(seed=i), "json": {"label": i % 2, "class": CLASSES[i % 2]}}
        for i in range(count)
    }


def dataset(folder, samples, *, classes=None, per_shard=4):
    """Return the dataset of these samples, written to a folder."""
    with shardpack.ShardWriter(folder, classes=classes, max_shard_samples=per_shard) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)
    return shardpack.open(folder)


def files(folder):
    """Return the contents of all files below a folder, by relative path."""
    return {name: data for name, data in contents(folder).items() if data is not None}
