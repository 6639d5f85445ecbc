"""A mix is a stream: exact, elastic, resumable; and it holds its weights."""

from __future__ import annotations

import collections
import copy
import itertools
import json
import pickle

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import CorruptShardError, FieldNotFoundError, OptionError
from tests.read.damage import flip
from tests.read.datasets import numbered, write
from tests.strategies import examples

SIZES = (40, 25, 11)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets")
    opened = []
    for number, size in enumerate(SIZES):
        samples = {f"{number}/{key}": fields for key, fields in numbered(size).items()}
        opened.append(shardpack.open(write(folder / str(number), samples, max_shard_samples=6)))
    return opened


def seen(stream):
    return [(sample.source, sample.position) for sample in stream]


def global_batches(make, world_size):
    """Return the set of samples of each step, over all ranks."""
    steps = [[seen(step) for step in make(rank=rank, world_size=world_size).steps()] for rank in range(world_size)]
    return [collections.Counter(itertools.chain(*step)) for step in zip(*steps, strict=True)]


def summed(batches):
    return sum(batches, collections.Counter())


def check_evened_out(found, exact, tail, world_size):
    """Check what ranks give against what one alone does: no more is repeated or dropped than makes all equally long."""
    if tail == "pad":
        assert found >= exact
        assert (found - exact).keys() <= exact.keys()
        assert found.total() - exact.total() == -exact.total() % world_size
    else:
        assert found <= exact
        assert exact.total() - found.total() == exact.total() % world_size


orders = st.fixed_dictionaries(
    {
        "seed": st.integers(-(2**70), 2**70),
        "shuffle": st.sampled_from(["none", "shards", "blocks", "global"]),
        "block_bytes": st.just(3000),
        "window_blocks": st.integers(1, 4),
        "tail": st.sampled_from(["pad", "drop"]),
        "stop": st.sampled_from(["first", "all", 1, 50, 333]),
    }
)
weight_lists = st.lists(st.integers(1, 20), min_size=1, max_size=3)


def pairs(datasets, weights):
    return list(zip(datasets, weights, strict=False))


@examples(40)
@given(weights=weight_lists, options=orders, per_partition=st.integers(1, 3), epoch=st.integers(0, 3))
def test_global_batches_do_not_depend_on_the_world_size(datasets, weights, options, per_partition, epoch):
    def make(rank, world_size):
        stream = shardpack.mix(
            pairs(datasets, weights),
            **options,
            rank=rank,
            world_size=world_size,
            partitions=4,
            batch_size=4 * per_partition // world_size,
        )
        stream.set_epoch(epoch)
        return stream

    alone = global_batches(make, 1)
    full = make(0, 1).rank_slice.partitioning.full_steps
    for world_size in (2, 4):
        found = global_batches(make, world_size)
        assert found[:full] == alone[:full]
        check_evened_out(summed(found[full:]), summed(alone[full:]), options["tail"], world_size)
    lengths = {len(make(rank, 4)) for rank in range(4)}
    assert len(lengths) == 1
    assert len(seen(make(0, 4))) == lengths.pop()
    assert sum(make(0, 1).counts) == len(make(0, 1))


@examples(25)
@given(weights=weight_lists, options=orders, world=st.sampled_from([(1, 1), (1, 2), (2, 1), (2, 4)]), data=st.data())
def test_a_resumed_run_is_the_rest_of_the_whole(datasets, weights, options, world, data):
    before, after = world

    def make(rank, world_size):
        return shardpack.mix(
            pairs(datasets, weights), **options, rank=rank, world_size=world_size, partitions=4,
            batch_size=8 // world_size,
        )  # fmt: skip

    stream = make(0, before)
    whole = [seen(step) for step in stream.steps()]
    taken = data.draw(st.integers(0, len(whole)))
    iterator = iter(stream)
    for _ in range(sum(map(len, whole[:taken]))):
        next(iterator)
    state = json.loads(json.dumps(stream.state_dict()))
    found = collections.Counter()
    for rank in range(after):
        resumed = make(rank, after)
        resumed.load_state_dict(state)
        assert resumed.state_dict()["rank_samples"] == resumed.resume_at
        found.update(seen(resumed))
    if taken == len(whole):
        assert not found, "the epoch was over"
    else:
        check_evened_out(found, summed(global_batches(make, 1)[taken:]), options["tail"], after)


def test_resumes_within_a_step_at_every_position(datasets):
    stream = shardpack.mix(pairs(datasets, [3, 2, 1]), stop="all", batch_size=5)
    whole = seen(stream)
    iterator = iter(stream)
    for taken in range(len(whole) + 1):
        other = shardpack.mix(pairs(datasets, [3, 2, 1]), stop="all", batch_size=5)
        other.load_state_dict(stream.state_dict())
        assert seen(other) == whole[taken:]
        next(iterator, None)


@examples(30)
@given(weights=weight_lists, options=orders, world_size=st.sampled_from([1, 3]))
def test_prefixes_hold_the_weights(datasets, weights, options, world_size):
    assume(len(weights) > 1)
    stream = shardpack.mix(pairs(datasets, weights), **options, world_size=world_size)
    counts = collections.Counter()
    found = seen(stream)
    if options["tail"] == "pad" and stream.rank_slice.partitioning.longer % world_size:
        found.pop()  # another rank's sample, so that all have equally many
    for taken, (source, _) in enumerate(found, start=1):
        counts[source] += 1
        for number, weight in enumerate(stream.weights):
            assert abs(counts[number] - weight * taken) < (1.01 if len(weights) == 2 else 3)


# Stop rules


@examples(30)
@given(weights=st.lists(st.integers(1, 9), min_size=3, max_size=3), options=orders, epoch=st.integers(0, 2))
def test_first_ends_before_anything_comes_twice(datasets, weights, options, epoch):
    stream = shardpack.mix(pairs(datasets, weights), **{**options, "stop": "first"})
    stream.set_epoch(epoch)
    found = collections.Counter(seen(stream))
    assert max(found.values()) == 1
    per_dataset = collections.Counter(source for source, _ in found)
    assert any(per_dataset[number] == size for number, size in enumerate(SIZES)), "one is used up"
    assert tuple(per_dataset[number] for number in range(3)) == stream.counts


@examples(30)
@given(weights=st.lists(st.integers(1, 9), min_size=3, max_size=3), options=orders, epoch=st.integers(0, 2))
def test_all_sees_everything_and_as_often_as_the_weights_say(datasets, weights, options, epoch):
    stream = shardpack.mix(pairs(datasets, weights), **{**options, "stop": "all"})
    stream.set_epoch(epoch)
    found = collections.Counter(seen(stream))
    for number, size in enumerate(SIZES):
        times = {found[number, position] for position in range(size)}
        assert min(times) >= 1
        assert max(times) - min(times) <= 1, "one epoch after the other"


def test_shorter_datasets_go_on_in_another_order(datasets):
    stream = shardpack.mix([(datasets[0], 1), (datasets[2], 1)], stop="all", shuffle="global")
    short = [position for source, position in seen(stream) if source == 1]
    assert len(short) >= 3 * SIZES[2]
    rounds = [tuple(short[i : i + SIZES[2]]) for i in range(0, 3 * SIZES[2], SIZES[2])]
    assert len(set(rounds)) == 3
    stream.set_epoch(1)
    later = [position for source, position in seen(stream) if source == 1]
    assert tuple(later[: SIZES[2]]) not in rounds


def test_a_number_of_samples_goes_on_where_the_epoch_before_stopped(datasets):
    stream = shardpack.mix(pairs(datasets, [1, 1]), stop=10, shuffle="global")
    assert len(stream) == 10
    found = []
    for epoch in range(8):
        stream.set_epoch(epoch)
        found += seen(stream)
    assert sorted(position for source, position in found if source == 0) == list(range(40)), "each once in 80 samples"
    assert found == seen(shardpack.mix(pairs(datasets, [1, 1]), stop=80, shuffle="global"))


@pytest.mark.parametrize(("tail", "expected"), [("pad", 26), ("drop", 25)])
def test_a_number_that_ranks_cannot_share_is_rounded(datasets, tail, expected):
    streams = [shardpack.mix({datasets[0]: 1}, stop=103, tail=tail, rank=rank, world_size=4) for rank in range(4)]
    assert [len(stream) for stream in streams] == [expected] * 4


# Orders


def test_the_same_dataset_twice_has_two_orders(datasets):
    found = seen(shardpack.mix([(datasets[0], 1), (datasets[0], 1)], shuffle="global"))
    streams = [[position for source, position in found if source == number] for number in (0, 1)]
    assert streams[0] != streams[1]
    assert [sorted(stream) for stream in streams] == [list(range(40))] * 2


def test_epochs_and_seeds_differ_and_stay(datasets):
    def order(seed, epoch):
        stream = shardpack.mix(pairs(datasets, [2, 1]), seed=seed)
        stream.set_epoch(epoch)
        return tuple(seen(stream))

    choices = [(0, 0), (0, 1), (1, 0)]
    assert len({order(*choice) for choice in choices}) == 3
    assert [order(*choice) for choice in choices] == [order(*choice) for choice in choices]


def test_views_are_members_and_samples_are_whole(datasets):
    view = datasets[0].select(range(5, 15))
    stream = shardpack.mix({view: 1, datasets[1]: 1})
    samples = list(stream)
    assert {sample.position for sample in samples if sample.source == 0} == set(range(5, 15))
    for sample in samples:
        assert sample == datasets[sample.source][sample.position]
        assert sample.key == datasets[sample.source][sample.position].key
    copied = pickle.loads(pickle.dumps(samples[0]))
    assert (copied, copied.source) == (samples[0], samples[0].source)
    assert copy.copy(samples[0]).source == samples[0].source
    assert datasets[0][0].source is None


def test_golden_order(datasets):
    """The order is part of the format: these numbers never change."""
    assert seen(shardpack.mix(pairs(datasets, [2, 1, 1]), shuffle="global", seed=3))[:10] == GOLDEN


GOLDEN = [(0, 22), (1, 4), (0, 14), (2, 8), (0, 38), (1, 20), (0, 0), (2, 10), (0, 6), (1, 18)]


def test_reads_only_the_fields_asked_for(datasets):
    assert {tuple(sample) for sample in shardpack.mix(pairs(datasets, [1, 1]), fields=["json"])} == {("json",)}
    with pytest.raises(FieldNotFoundError, match="no field 'jpg'"):
        shardpack.mix(pairs(datasets, [1, 1]), fields=["jpg"])


def test_an_error_comes_at_the_very_sample(tmp_path):
    folder = write(tmp_path / "x", numbered(30))
    whole = shardpack.open(folder)
    stream = shardpack.mix([(whole, 1), (whole, 1)])
    before = seen(stream)
    span = next(entry for entry in whole.entries() if entry.position == 17).fields["bin"]
    flip(folder / "shard-000000.tar", span.offset)
    checked = shardpack.open(folder, verify=True)
    stream = shardpack.mix([(checked, 1), (checked, 1)])
    found = []
    with pytest.raises(CorruptShardError):
        found.extend((sample.source, sample.position) for sample in stream)
    assert stream.state_dict()["rank_samples"] == [position for _, position in before].index(17)


# What is refused


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stop": "last"}, "stop is 'last'; choose 'first', 'all' or a number"),
        ({"stop": 0}, "stop is 0"),
        ({"stop": True}, "stop is True, expected an integer"),
        ({"stop": 1.5}, "stop is 1.5, expected an integer"),
        ({"tail": "exact"}, "a mix has no exact tail"),
        ({"tail": "some"}, "tail is 'some'"),
        ({"shuffle": "all"}, "shuffle is 'all'"),
        ({"seed": None}, "seed is None"),
        ({"stop": 2**61}, "stop is 2305843009213693952, expected an integer from 1"),
        ({"batch_size": 3, "partitions": 2}, "global batch of 3"),
    ],
)
def test_options_are_checked_at_once(datasets, options, text):
    with pytest.raises(OptionError, match=text):
        shardpack.mix(pairs(datasets, [1, 1]), **options)


def test_members_are_checked_at_once(datasets):
    with pytest.raises(OptionError, match="nothing to mix"):
        shardpack.mix({})
    with pytest.raises(OptionError, match="not a dataset with its weight"):
        shardpack.mix(datasets)
    with pytest.raises(OptionError, match="not a dataset with its weight"):
        shardpack.mix({"out/": 1})
    with pytest.raises(OptionError, match="dataset 1 has 0 samples"):
        shardpack.mix({datasets[0]: 1, datasets[1].select([]): 1})
    with pytest.raises(OptionError, match="weight of dataset 0 is -1"):
        shardpack.mix({datasets[0]: -1})


def test_states_of_other_mixes_are_refused(datasets):
    a, b, c = datasets
    stream = shardpack.mix([(a, 2), (b, 1)], stop="all")
    iterator = iter(stream)
    next(iterator)
    state = stream.state_dict()
    others = {
        "fingerprint of dataset 0": shardpack.mix([(c, 2), (b, 1)], stop="all"),
        "view of dataset 1": shardpack.mix([(a, 2), (b.select(range(9)), 1)], stop="all"),
        "weight of dataset 0": shardpack.mix([(a, 1), (b, 1)], stop="all"),
        "fingerprint of dataset 0 is": shardpack.mix([(b, 1), (a, 2)], stop="all"),
        "a mix of 2 datasets, this one has 3": shardpack.mix([(a, 2), (b, 1), (c, 1)], stop="all"),
        "stops at 'all', this one stops at 'first'": shardpack.mix([(a, 2), (b, 1)]),
        "seed is 0 there, 1 here": shardpack.mix([(a, 2), (b, 1)], stop="all", seed=1),
        "not a stream state": a.stream(),
    }
    for text, other in others.items():
        before = other.state_dict()
        with pytest.raises(OptionError, match=text):
            other.load_state_dict(state)
        assert other.state_dict() == before, "nothing of it is applied"
    with pytest.raises(OptionError, match="of a stream of another kind: it lacks datasets, stop"):
        stream.load_state_dict(a.stream().state_dict())
    for broken in (
        {**state, "stop": 10**5000},
        {**state, "datasets": 3},
        {**state, "datasets": [1, 2]},
        {**state, "stop": None},
        None,
        [],
    ):
        with pytest.raises(OptionError):
            stream.load_state_dict(broken)
    shardpack.mix([(a, 4), (b, 2)], stop="all").load_state_dict(state)  # the same weights


def test_an_epoch_far_beyond_reach_is_refused(datasets):
    stream = shardpack.mix(pairs(datasets, [1, 1]), stop=100)
    stream.set_epoch(2**60)
    with pytest.raises(OptionError, match="an earlier epoch"):
        next(iter(stream))
