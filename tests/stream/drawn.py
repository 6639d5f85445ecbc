"""A small dataset with classes and weights given as arrays, for tests of balanced and weighted streams."""

from __future__ import annotations

import numpy as np

import shardpack
from shardpack.order.groups import Groups
from shardpack.stream.draws import LabelColumns
from shardpack.stream.options import StreamOptions
from shardpack.stream.stream import open_stream
from tests.read.datasets import CountingStore, numbered, packed

SAMPLES = 47
DS = shardpack.open(CountingStore(packed(numbered(SAMPLES), max_shard_samples=5)))
NAMES = ("cat", "dog", "owl")
CLASS = np.array([0 if n % 9 == 0 else 1 if n % 3 == 0 else 2 for n in range(SAMPLES)])
WEIGHT = np.array([float(n % 4) for n in range(SAMPLES)])


def groups_of(_, column):
    assert column in {"class", "kind"}
    order = np.argsort(CLASS, kind="stable").astype(np.uint32)
    return Groups(NAMES, np.concatenate(([0], np.cumsum(np.bincount(CLASS)))), order)


def numbers_of(_, column):
    return {"weight": WEIGHT, "bad": np.where(WEIGHT == 3, np.nan, WEIGHT), "negative": WEIGHT - 1}[column]


COLUMNS = LabelColumns(groups_of, numbers_of)


def opened(ds=DS, **options):
    return open_stream(ds, StreamOptions(**options), COLUMNS)


def positions(stream):
    return [sample.position for sample in stream]
