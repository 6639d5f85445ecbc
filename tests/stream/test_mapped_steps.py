"""Steps in maps are the steps of the stream, as far as they are in memory and have all fields."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.codecs.arrays import encode_npy
from tests.read.datasets import CountingStore, packed, write

COUNT = 23


def samples(count=COUNT, **more):
    return {f"k/{i:03d}": {"npy": encode_npy(np.full((3, 2), i, np.int32)), **more} for i in range(count)}


def described(stream, first=0):
    """Return (keys, payloads) of the mapped steps of a stream."""
    return [(step.keys(), [bytes(payload) for payload in step.payloads("npy")]) for step in stream.mapped_steps(first)]


def expected(stream, first=0):
    return [([one.key for one in step], [one["npy"] for one in step]) for step in stream.steps(first)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("arrays") / "out", samples(json=b"{}"), max_shard_samples=5)


@pytest.mark.parametrize("shuffle", ["none", "shards", "blocks", "global"])
@pytest.mark.parametrize("tail", ["pad", "drop", "exact"])
def test_they_are_the_steps_of_the_stream(folder, shuffle, tail):
    ds = shardpack.open(folder)
    for rank in range(2):
        stream = ds.stream(shuffle=shuffle, tail=tail, batch_size=4, rank=rank, world_size=2, fields=["npy"])
        stream.set_epoch(1)
        for first in (0, 2):
            assert described(stream, first) == expected(stream, first)


def test_views_and_deleted_samples(tmp_path):
    folder = write(tmp_path / "out", samples(), max_shard_samples=5)
    shardpack.delete(folder, ["k/001", "k/007"])
    ds = shardpack.open(folder)
    for one in (ds, ds.select(["k/009", "k/002", "k/009"])):
        stream = one.stream(shuffle="global", batch_size=4, tail="exact")
        assert described(stream) == expected(stream)
        assert described(stream)


def test_a_step_may_be_without_its_first_samples(folder):
    step = next(iter(shardpack.open(folder).stream(batch_size=7).mapped_steps(0)))
    rest = step.without(3)
    assert rest.keys() == step.keys()[3:] == [f"k/{i:03d}" for i in range(3, 7)]
    assert list(map(bytes, rest.payloads("npy"))) == list(map(bytes, step.payloads("npy")[3:]))


def test_there_are_none_where_payloads_are_not_in_maps(folder, tmp_path):
    assert not described(shardpack.open(folder, verify=True).stream(batch_size=4))
    assert not described(shardpack.open(CountingStore(packed(samples()))).stream(batch_size=4))
    compressed = write(tmp_path / "zst", samples(), compress={"shards": "zstd"})
    assert not described(shardpack.open(compressed).stream(batch_size=4))


def test_they_end_where_a_sample_lacks_a_field(tmp_path):
    some = samples(12)
    some["k/009"]["txt"] = b"of the last shard only"
    ds = shardpack.open(write(tmp_path / "out", some, max_shard_samples=8))
    assert not described(ds.stream(batch_size=4))
    stream = ds.stream(batch_size=4, fields=["npy"])
    assert described(stream) == expected(stream)[:2]


def test_they_end_where_memory_does(folder, monkeypatch):
    ds = shardpack.open(folder)
    stream = ds.stream(batch_size=5)
    store = ds.stream_input().cache.stores.all[0]
    monkeypatch.setattr(type(store), "is_cached", lambda _, path, __: "000002" not in path)
    assert described(stream) == expected(stream)[:2]


def test_a_lost_shard_is_left_to_the_samples(tmp_path):
    folder = write(tmp_path / "out", samples(), max_shard_samples=5)
    sorted(folder.glob("*.tar"))[1].unlink()
    stream = shardpack.open(folder).stream(batch_size=5)
    assert len(described(stream)) == 1


def test_mixes_have_none(folder):
    ds = shardpack.open(folder)
    assert not list(shardpack.mix([(ds, 1), (ds, 1)], batch_size=4).mapped_steps(0))
