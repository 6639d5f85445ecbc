"""Samples of a base with layers cut from maps together: what reading one by one gives, in any order."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.read.layered_cut import cut_mapped
from tests.read.datasets import as_dicts, expected, numbered, write
from tests.read.layered import attach, joined, layered

BASE = numbered(60)
LABELS = {key: {"json": b'{"changed":%d}' % at} for at, key in enumerate(BASE)}
SOME = {key: {"json": b"2", "txt": b"text of " + key.encode()} for key in list(BASE)[45:3:-2]}
SHARDS = {"max_shard_samples": 35, "of_layers": {"max_shard_samples": 50}}
ORDER = np.random.default_rng(0).integers(60, size=200)


def opened(folder, *, is_mapped=True):
    cache = shardpack.open(folder).stream_input().cache
    for own in (cache, *(layer.cache for layer in cache.layers)) if is_mapped else ():
        for number in range(len(own)):
            own.map(own.get(number))
    return cache


@pytest.mark.parametrize("layers", [(LABELS,), (SOME,), (LABELS, SOME)], ids=["all", "some", "both"])
def test_samples_in_any_order(tmp_path, layers):
    cache = opened(layered(tmp_path / "data", BASE, *layers, **SHARDS))
    assert as_dicts(list(cut_mapped(cache, ORDER))) == expected(joined(BASE, *layers), ORDER.tolist())


def test_samples_without_fields_of_the_layer(tmp_path):
    both = {key: {"json": b"no", "txt": b"yes"} for key in BASE}
    folder = attach(write(tmp_path / "data", BASE), write(tmp_path / "layer", both), fields=("txt",), length=30)
    model = joined(BASE, {key: {"txt": b"yes"} for key in list(BASE)[:30]})
    assert as_dicts(list(cut_mapped(opened(folder), ORDER))) == expected(model, ORDER.tolist())


def test_samples_of_shards_that_are_not_mapped_are_left_to_others(tmp_path):
    folder = layered(tmp_path / "data", BASE, LABELS, **SHARDS)
    cache = opened(folder, is_mapped=False)
    assert cut_mapped(cache, ORDER) is None
    cache.map(cache.get(0))
    cache.map(cache.get(1))
    assert cut_mapped(cache, ORDER) is None, "those of the layer are not"


def test_a_few_samples_of_many_shards_are_left_to_others(tmp_path):
    cache = opened(layered(tmp_path / "data", BASE, LABELS, **SHARDS))
    assert cut_mapped(cache, ORDER[:20]) is None
