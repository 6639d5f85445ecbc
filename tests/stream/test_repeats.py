"""Samples that come several times in an epoch: each time with random numbers of its own, whoever reads it."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import numpy as np
import pytest

import shardpack
from shardpack.order.listed import Listed
from tests.conftest import make_jpeg
from tests.edits import write
from tests.read.datasets import CountingStore, packed

COUNT = 12
TRAIN = {"decode": "rgb8", "size": 12, "crop": "random", "flip": 0.5}
LISTED = [3, 3, 7, 3, 0, 11, 7, 3]
TIMES = Counter(LISTED)


@pytest.fixture(scope="module", params=["bucket", "folder"])
def ds(request, tmp_path_factory):
    files = packed({f"{i:03d}": {"jpg": make_jpeg(60 + i, 50, seed=i)} for i in range(COUNT)}, max_shard_samples=5)
    if request.param == "bucket":
        return shardpack.open(CountingStore(files))
    return shardpack.open(write(tmp_path_factory.mktemp("ds"), files))


def numbers_of(streams):
    """Return what random numbers of the samples depend on; samples may be held while others are read."""
    samples = [list(stream) for stream in streams]
    return [[sample.drawn_as for sample in own] for own in samples]


def test_earlier_positions_are_counted():
    assert Listed(np.array([3, 3, 7, 3, 0, 7])).earlier.tolist() == [0, 1, 0, 2, 0, 1]
    assert Listed(np.array([3, 1, 2])).earlier is None
    assert Listed(np.array([1, 5, 2**40, 5])).earlier.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("shuffle", ["none", "shards", "blocks", "global"])
def test_a_view_that_has_a_sample_several_times_tells_them_apart(ds, shuffle):
    """In every order alike, on however many ranks."""
    expected = {(position, n) if n else (position,) for position, times in TIMES.items() for n in range(times)}
    for world_size in (1, 2, 4):
        streams = [
            ds.select(LISTED).stream(shuffle=shuffle, block_bytes=2048, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        assert sorted(itertools.chain.from_iterable(numbers_of(streams))) == sorted(expected)


def test_padding_is_repeated_as_it_is(ds):
    streams = [ds.select([3, 3, 0]).stream(shuffle="blocks", rank=rank, world_size=2) for rank in range(2)]
    found = Counter(itertools.chain.from_iterable(numbers_of(streams)))
    assert found.keys() == {(3,), (3, 1), (0,)}
    assert sorted(found.values()) == [1, 1, 2]


def test_each_time_is_cropped_in_its_own_way_also_after_resuming(ds):
    options = {"shuffle": "blocks", "seed": 5, "threads": 2, **TRAIN}

    def crops(loader):
        return [
            (key, image.tobytes())
            for batch in loader
            for key, image in zip(batch["__key__"], batch["jpg"], strict=True)
        ]

    view = ds.select(LISTED)
    whole = crops(view.loader(2, **options))
    assert len({crop for crop in whole if crop[0] == "003"}) == 4, "as often as it comes"
    ranks = [view.loader(1, rank=rank, world_size=2, **options) for rank in range(2)]
    assert Counter(itertools.chain.from_iterable(map(crops, ranks))) == Counter(whole)
    stopped = view.loader(2, **options)
    next(iterator := iter(stopped))
    next(iterator)
    again = view.loader(2, **options)
    again.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    assert crops(again) == whole[4:]
    assert set(crops(ds.loader(2, **options))) & set(whole) == {
        crop for crop in crops(ds.loader(2, **options)) if int(crop[0]) in TIMES
    }, "the first time, as where it comes once"


def test_a_mix_tells_apart_what_it_repeats(ds):
    """Rounds of a short dataset, samples that partitions share, and samples that a view has twice."""
    other = shardpack.open(CountingStore(packed({f"x{i}": {"bin": b"%d" % i} for i in range(3)})))
    for datasets, options in (
        ([(ds, 1), (other, 3)], {"stop": "all", "partitions": 1}),
        ([(ds, 1), (other, 1)], {"stop": "all", "partitions": 6}),
        ([(ds, 1), (other, 1)], {"stop": 60, "partitions": 4}),
        ([(ds.select([5, 5, 2]), 1), (ds, 2)], {"stop": 90, "partitions": 2}),
    ):
        for epoch in (0, 3):
            seen = []
            for world_size in (1, 2) if options["partitions"] > 1 else (1,):
                streams = [shardpack.mix(datasets, rank=r, world_size=world_size, **options) for r in range(world_size)]
                for stream in streams:
                    stream.set_epoch(epoch)
                seen.append(Counter(itertools.chain.from_iterable(numbers_of(streams))))
            assert max(seen[0].values()) == 1
            assert seen[0] == seen[-1]
            assert any(len(numbers) == 3 for numbers in seen[0])


def test_a_mix_that_repeats_nothing_draws_as_before(ds):
    stream = shardpack.mix([(ds, 1), (ds, 1)], stop="first", partitions=1)
    assert {len(sample.drawn_as) for sample in stream} == {2}
