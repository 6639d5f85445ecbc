"""A block of a base with layers: one range of each, samples cut lazily out of all buffers."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import shardpack
from shardpack.storage.local import LocalStore
from shardpack.stream.block_buffer import slice_block
from shardpack.stream.layered_block import LayeredBlock
from shardpack.stream.limits import ReaderSetup
from shardpack.stream.load import Buffered, DoesNotFit, LoadReader, SamplesInMemory
from shardpack.stream.plan import Load, LoadId
from tests.read.datasets import as_dicts, expected, numbered
from tests.read.layered import RemoteStore, joined, layered, packed_layered

BASE = numbered(40, size=3000)
KEYS = list(BASE)
LABELS = {key: {"json": b'{"changed":%d}' % at} for at, key in enumerate(KEYS)}
SOME = {key: {"json": b"2", "txt": b"text"} for key in KEYS[::3]}
BLOCK = LoadId(0, 0, 0)


def read(store, positions, **setup):
    reader = LoadReader(shardpack.open(store).stream_input(), ReaderSetup(**setup))
    return reader, reader.read(Load(BLOCK, np.array(positions, np.int64)))


def samples_of(content, positions):
    return as_dicts(list(slice_block(content.block, np.arange(len(positions)), np.array(positions))))


@pytest.mark.parametrize("layers", [(LABELS,), (SOME,), (LABELS, SOME)], ids=["all", "some", "both"])
def test_a_block_costs_one_range_of_base_and_of_each_layer(layers):
    store = RemoteStore(packed_layered(BASE, *layers, max_shard_samples=20))
    _, content = read(store, range(3, 15))
    assert isinstance(content, Buffered)
    assert isinstance(content.block, LayeredBlock)
    assert samples_of(content, range(3, 15)) == expected(joined(BASE, *layers), range(3, 15))
    tars = [path for path in store.taken() if path.endswith(".tar")]
    assert len(tars) == len(set(tars)) == 1 + len(layers)
    assert content.held_bytes == sum(map(len, content.block.buffers))


def test_a_layer_in_another_order_is_read_in_several_ranges():
    shuffled = {key: LABELS[key] for key in sorted(KEYS, key=lambda key: key[::-1])}
    store = RemoteStore(packed_layered(BASE, shuffled, max_shard_samples=20))
    _, content = read(store, range(20, 40))
    assert isinstance(content, Buffered)
    assert samples_of(content, range(20, 40)) == expected(joined(BASE, LABELS), range(20, 40))


def test_base_and_layer_are_read_at_the_same_time():
    barrier = threading.Barrier(2)

    class Waiting(RemoteStore):
        def get_pooled_range(self, path, **where):
            barrier.wait(10)
            return super().get_pooled_range(path, **where)

    _, content = read(Waiting(packed_layered(BASE, LABELS)), range(10))
    assert samples_of(content, range(10)) == expected(joined(BASE, LABELS), range(10))


def test_maps_take_no_memory(tmp_path):
    class CachedStore(LocalStore):
        def is_cached(self, *_):
            return True

    folder = layered(tmp_path / "data", BASE, LABELS)
    reader = LoadReader(shardpack.open(CachedStore(folder)).stream_input(), ReaderSetup())
    content = reader.read(Load(BLOCK, np.arange(10)))
    assert content.held_bytes == 0
    assert samples_of(content, range(10)) == expected(joined(BASE, LABELS), range(10))


def test_blocks_that_do_not_fit_are_not_read():
    store = RemoteStore(packed_layered(BASE, LABELS))
    reader, content = read(store, range(10), memory_bytes=60_000)
    assert isinstance(content, Buffered)
    store.taken()
    again = reader.read(Load(BLOCK, np.arange(10, 30)))
    assert isinstance(again, DoesNotFit)
    assert not store.taken()
    reader.release(content)
    assert isinstance(reader.read(Load(BLOCK, np.arange(10, 30))), Buffered)


def test_blocks_over_two_shards_are_listed():
    _, content = read(RemoteStore(packed_layered(BASE, SOME, max_shard_samples=20)), range(18, 23))
    assert isinstance(content, SamplesInMemory)
    assert as_dicts(content.samples) == expected(joined(BASE, SOME), range(18, 23))
