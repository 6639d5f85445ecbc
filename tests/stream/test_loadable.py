"""One call for a stream and its loader, of datasets, views and mixes alike."""

from __future__ import annotations

import inspect

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.stream.stream import Stream
from tests.read.datasets import CountingStore, numbered, packed

DS = shardpack.open(CountingStore(packed(numbered(40, size=100), max_shard_samples=6)))


def keys(loader):
    return [batch["__key__"] for batch in loader]


def test_a_loader_gives_the_steps_of_its_stream():
    options = {"shuffle": "blocks", "seed": 3, "rank": 1, "world_size": 2, "tail": "drop", "partitions": 4}
    steps = DS.stream(batch_size=6, **options).steps()
    assert keys(DS.loader(6, **options)) == [[sample.key for sample in step] for step in steps]


def test_loaders_of_views_and_mixes():
    view = DS.select(range(9, 3, -1))
    assert keys(view.loader(4)) == [[f"k/{i:04d}" for i in (9, 8, 7, 6)], ["k/0005", "k/0004"]]
    mixed = shardpack.mix([(DS, 2), (view, 1)], stop="all", batch_size=5)
    expected = [[sample.key for sample in step] for step in mixed.steps()]
    loader = mixed.loader(threads=2)
    assert keys(loader) == expected
    assert set(next(iter(loader))) == {"__key__", "bin", "json"}
    state = loader.state_dict()
    again = shardpack.mix([(DS, 2), (view, 1)], stop="all", batch_size=5).loader()
    again.load_state_dict(state)
    assert keys(again) == expected[1:]


def test_a_loader_needs_a_batch_size():
    with pytest.raises(OptionError, match="give the stream a batch_size"):
        shardpack.mix({DS: 1}).loader()
    for wrong in (0, None, 1.5):
        with pytest.raises(OptionError, match="batch_size is"):
            DS.loader(wrong)


def test_both_ways_take_the_same_options():
    of_dataset = inspect.signature(type(DS).loader).parameters
    of_stream = inspect.signature(Stream.loader).parameters
    stream = inspect.signature(type(DS).stream).parameters
    names = {name for name in of_dataset if name not in {"dataset", "self", "batch_size"}}
    assert names == (of_stream.keys() | stream.keys()) - {"self", "batch_size"}
    for name in names:
        assert of_dataset[name].default == (of_stream.get(name) or stream.get(name)).default
