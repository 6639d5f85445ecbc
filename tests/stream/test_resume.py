"""Stop anywhere, go on with exactly the rest; refuse what is of other data or options, and apply nothing of it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from shardpack.order.options import SHUFFLES
from shardpack.order.partitions import TAILS
from shardpack.stream.epochs import DatasetEpochs
from tests.read.datasets import CountingStore, numbered, packed
from tests.strategies import examples, json_values

STORE = CountingStore(packed(numbered(23), max_shard_samples=5))
DS = shardpack.open(STORE)
BIG = shardpack.open(CountingStore(packed(numbered(301), max_shard_samples=50)))
VIEW = DS.select([22, 3, 4, 5, 17, 3, 0, 21, 20, 9])
SMALL = {"block_bytes": 3000, "window_blocks": 2}  # a few blocks and windows in so few samples


def positions(stream):
    return [sample.position for sample in stream]


def saved(state):
    """What a checkpoint file makes of a state."""
    return json.loads(json.dumps(state))


@pytest.mark.parametrize("mode", SHUFFLES)
@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(
    "layout",
    [{}, {"batch_size": 4}, {"world_size": 2, "rank": 1}, {"world_size": 2, "batch_size": 6, "partitions": 4}],
    ids=str,
)
@pytest.mark.parametrize("ds", [DS, VIEW], ids=["all", "view"])
def test_every_position_resumes_with_exactly_the_rest(ds, mode, tail, layout):
    options = {"shuffle": mode, "seed": 3, "tail": tail, **layout, **SMALL}
    stream = ds.stream(**options)
    stream.set_epoch(2)
    whole = positions(stream)
    assert len(whole) == len(stream)
    iterator = iter(stream)
    for taken in range(len(whole) + 1):
        state = saved(stream.state_dict())
        other = ds.stream(**options)
        other.load_state_dict(state)
        assert (other.epoch, other.state_dict()) == (2, state)
        assert other.resume_at == min(taken, len(whole))
        resumed = iter(other)
        for half in range(taken, min(taken + 3, len(whole))):  # and once more from there
            assert next(resumed).position == whole[half]
            third = ds.stream(**options)
            third.load_state_dict(saved(other.state_dict()))
            assert positions(third) == whole[half + 1 :]
        assert [sample.position for sample in resumed] == whole[min(taken + 3, len(whole)) :]
        assert positions(other) == whole, "then the epoch from its start"
        next(iterator, None)


def test_what_a_state_says_and_when():
    stream = DS.stream(shuffle="global")
    taken = [stream.state_dict()["rank_samples"]]
    iterator = iter(stream)
    taken.append(stream.state_dict()["rank_samples"])
    for _ in range(3):
        next(iterator)
        taken.append(stream.state_dict()["rank_samples"])
    assert taken == [0, 0, 1, 2, 3]
    newer = iter(stream)
    assert stream.state_dict()["rank_samples"] == 0, "the newest iterator counts"
    next(iterator)
    assert stream.state_dict()["rank_samples"] == 0, "and only that one"
    assert len(list(newer)) == 23
    assert stream.state_dict()["rank_samples"] == 23
    stream.set_epoch(1)
    assert (stream.state_dict()["rank_samples"], stream.state_dict()["epoch"]) == (0, 1)


def test_the_end_of_an_epoch():
    stream = DS.stream(shuffle="global", seed=1)
    whole = positions(stream)
    other = DS.stream(shuffle="global", seed=1)
    other.load_state_dict(stream.state_dict())
    assert positions(other) == []
    assert other.state_dict() == stream.state_dict()
    assert positions(other) == whole


def test_the_usual_loop_over_epochs_resumes():
    """`set_epoch` of the epoch that was loaded keeps the resume point; of another one it does not."""
    stream = DS.stream(shuffle="global")
    stream.set_epoch(3)
    whole = positions(stream)
    state = stream.state_at(9)
    other = DS.stream(shuffle="global")
    other.load_state_dict(state)
    seen = []
    for epoch in range(state["epoch"], 5):
        other.set_epoch(epoch)
        seen.append(positions(other))
    assert seen[0] == whole[9:]
    assert sorted(seen[1]) == list(range(23))
    other.load_state_dict(state)
    other.set_epoch(4)
    assert positions(other) == seen[1]
    other.load_state_dict(state)
    other.rewind()
    assert (positions(other), other.epoch) == (whole, 3)


def test_loading_while_iterating_does_not_disturb_the_iterator():
    stream = DS.stream(shuffle="global")
    whole = positions(stream)
    iterator = iter(stream)
    head = [next(iterator).position for _ in range(4)]
    stream.load_state_dict(stream.state_at(10))
    assert head + [sample.position for sample in iterator] == whole
    assert stream.state_dict()["rank_samples"] == 10
    assert positions(stream) == whole[10:]


def test_any_rank_serves_all_ranks():
    streams = [DS.stream(shuffle="blocks", rank=rank, world_size=3, batch_size=2, **SMALL) for rank in range(3)]
    whole = [positions(stream) for stream in streams]
    for taken in range(9):
        states = [stream.state_at(taken) for stream in streams]
        assert states[0] == states[1] == states[2]
        for rank, stream in enumerate(streams):
            stream.load_state_dict(states[0])
            assert positions(stream) == whole[rank][taken:]


# Callers that fetch ahead


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("workers", [1, 2, 3, 40])
def test_steps_given_to_workers_are_the_epoch(tail, workers):
    stream = DS.stream(shuffle="blocks", seed=2, batch_size=4, world_size=2, rank=1, tail=tail, **SMALL)
    whole = positions(stream)
    given = [stream.steps(worker, stride=workers) for worker in range(workers)]
    found = [next(given[step % workers]) for step in range(stream.num_steps)]
    assert all(next(steps, None) is None for steps in given)
    assert [len(step) for step in found[:-1]] == [stream.batch_size] * (stream.num_steps - 1)
    assert [sample.position for step in found for sample in step] == whole


def test_steps_count_nothing_and_keep_the_resume_point():
    stream = DS.stream(batch_size=4)
    stream.load_state_dict(stream.state_at(6))
    assert (stream.resume_at, stream.resume_step, stream.num_steps) == (6, 1, 6)
    assert [sample.position for step in stream.steps(stream.resume_step) for sample in step] == list(range(4, 23))
    assert stream.state_dict() == stream.state_at(6)
    assert positions(stream) == list(range(6, 23))
    assert list(stream.steps(6)) == []


def test_steps_belong_to_the_epoch_in_which_they_were_asked_for():
    stream = DS.stream(shuffle="global", batch_size=23)
    steps = stream.steps()
    whole = positions(stream)
    stream.set_epoch(1)
    assert [sample.position for sample in next(steps)] == whole


@pytest.mark.parametrize(("first", "stride"), [(-1, 1), (0, 0), (0, -1), (0.5, 1), (0, None)])
def test_bad_steps(first, stride):
    with pytest.raises(OptionError):
        DS.stream().steps(first, stride=stride)


@pytest.mark.parametrize("count", [-1, 1.5, None])
def test_bad_counts(count):
    with pytest.raises(OptionError):
        DS.stream().state_at(count)


def test_a_count_beyond_the_share_is_the_end():
    stream = DS.stream(tail="exact", rank=0, world_size=3)
    assert len(stream) == 7
    assert stream.state_at(7)["rank_samples"] == 7, "rank 2 has one more"
    assert stream.state_at(8)["rank_samples"] == 8
    assert stream.state_at(10**9)["rank_samples"] == 8
    list(stream)
    assert stream.state_dict()["rank_samples"] == 8


# What is refused

OPTIONS = {"shuffle": "blocks", "seed": 3, **SMALL}


def refused(stream, state, text):
    """Assert that a state is refused with a reason and that nothing of it is applied."""
    before = (stream.state_dict(), stream.resume_at, stream.epoch, len(stream))
    with pytest.raises(OptionError, match=text):
        stream.load_state_dict(state)
    assert (stream.state_dict(), stream.resume_at, stream.epoch, len(stream)) == before


OTHER = shardpack.open(CountingStore(packed(numbered(24), max_shard_samples=5)))
REFUSED = {
    "other data": (OTHER, {}, "state is of another dataset: fingerprint is"),
    "view": (VIEW, {}, "another selection of samples: view is"),
    "mode": (DS, {"shuffle": "global"}, "another order: shuffle is 'global' there, 'blocks' here; resume with"),
    "seed": (DS, {"seed": 4}, "another order: seed is 4 there, 3 here"),
    "block_bytes": (DS, {"block_bytes": 3001}, "another order: block_bytes is 3001"),
    "window_blocks": (DS, {"window_blocks": 3}, "state has window_blocks of 3, asked for 2; leave"),
    "tail": (DS, {"tail": "drop"}, "another tail: tail is 'drop' there, 'pad' here"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_states_of_other_data_or_options_are_refused(case):
    ds, changed, text = REFUSED[case]
    other = ds.stream(**OPTIONS | changed)
    other.set_epoch(5)
    stream = DS.stream(**OPTIONS)
    stream.load_state_dict(stream.state_at(4))
    refused(stream, other.state_at(3), text)
    assert positions(stream) == positions(DS.stream(**OPTIONS))[4:]


def test_two_views_differ_by_their_order():
    a, b = DS.select([1, 2, 3]), DS.select([1, 3, 2])
    refused(a.stream(), b.stream().state_dict(), "another selection")
    a.stream().load_state_dict(DS.select([1, 2, 3]).stream().state_dict())


@pytest.mark.parametrize(
    ("asked", "found", "text"),
    [
        ({"partitions": 2}, {"partitions": 4, "batch_size": 4}, "state has 4 partitions, asked for 2; leave"),
        ({"batch_size": 3}, {"batch_size": 4}, "state has a global batch of 4, asked for 3 \\* 1; choose"),
        (
            {"world_size": 2},
            {"batch_size": 3, "partitions": 1},
            "1 partitions cannot be divided evenly between 2 ranks",
        ),
        (
            {"world_size": 3},
            {"partitions": 4, "batch_size": 4},
            "4 partitions cannot be divided evenly between 3 ranks; choose a world size that divides them: 1, 2, 4",
        ),
    ],
)
def test_states_that_do_not_fit_this_layout_are_refused(asked, found, text):
    refused(DS.stream(**asked), DS.stream(**found).state_at(0), text)


GOOD = DS.stream(**OPTIONS, partitions=4, batch_size=4).state_at(8)
ODD = {
    "no mapping": ([1], "not a stream state: expected a mapping, got list"),
    "none": (None, "not a stream state"),
    "empty": ({}, "stream state has version None, expected 1; start the epoch again"),
    "newer": (GOOD | {"version": 2}, "stream state has version 2, expected 1"),
    "true": (GOOD | {"version": True}, "version True"),
    "array": (GOOD | {"version": np.ones(3)}, "version array"),
    "missing": ({k: v for k, v in GOOD.items() if k != "tail"}, "missing or unknown 'tail'"),
    "unknown": (GOOD | {"more": 1, 3: 4}, "missing or unknown 'more', 3"),
    "float": (GOOD | {"rank_samples": 8.0}, "bad rank_samples: 8.0"),
    "text": (GOOD | {"epoch": "1"}, "bad epoch: '1'"),
    "bool": (GOOD | {"epoch": True}, "bad epoch: True"),
    "negative": (GOOD | {"rank_samples": -1}, "bad rank_samples: -1"),
    "beyond": (GOOD | {"rank_samples": 25}, "beyond the epoch: 25 samples of at most 23"),
    "huge": (GOOD | {"rank_samples": 2**63}, "bad rank_samples: 9223372036854775808"),
    "endless": (GOOD | {"epoch": 10**5000}, "bad epoch: a very large int"),
    "endless seed": (GOOD | {"seed": 10**5000 + 1}, "seed is a very large int there, 3 here"),
    "no ranks": (GOOD | {"world_size": 0}, "a world_size of 0"),
    "no partitions": (GOOD | {"partitions": 0}, "a partitions of 0"),
    "no batch": (GOOD | {"global_batch": 0}, "a global_batch of 0"),
    "ranks that do not divide": (GOOD | {"world_size": 3}, "4 partitions cannot be divided evenly between 3 ranks"),
    "batch that does not divide": (GOOD | {"global_batch": 6}, "a global batch of 6 does not divide"),
    "too many partitions": (GOOD | {"partitions": 2**40, "global_batch": 2**40}, "partitions is 1099511627776"),
}


@pytest.mark.parametrize("case", ODD)
def test_odd_states_are_refused(case):
    refused(DS.stream(**OPTIONS), *ODD[case])


@examples(300)
@given(st.dictionaries(st.sampled_from(sorted(GOOD)), json_values(), max_size=4), st.sampled_from([1, 2, 3, 4]))
def test_hostile_states_raise_nothing_else(changed, world_size):
    stream = DS.stream(**OPTIONS, world_size=world_size)
    before = stream.state_dict()
    try:
        stream.load_state_dict(GOOD | changed)
    except OptionError:
        assert stream.state_dict() == before
    else:
        assert len(positions(stream)) <= len(stream)


def test_a_state_of_another_generation_says_how_to_open_that():
    state = DS.stream(**OPTIONS).state_at(3) | {"fingerprint": "0" * 16, "generation": 7}
    advice = r"of generation 7 of the dataset, .*; resume with shardpack\.open\(\.\.\., generation=7\)"
    refused(DS.stream(**OPTIONS), state, advice)
    same_data = DS.stream(**OPTIONS).state_at(3) | {"generation": 7}
    DS.stream(**OPTIONS).load_state_dict(same_data)


def test_a_state_of_an_earlier_generation_resumes_where_its_error_says(tmp_path):
    shardpack.pack([(f"{i}", {"txt": "x"}) for i in range(8)], tmp_path)
    stream = shardpack.open(tmp_path).stream(shuffle="global")
    seen = [sample.position for _, sample in zip(range(3), stream, strict=False)]
    state = stream.state_dict()
    (tmp_path / "more.tar").write_bytes((tmp_path / "shard-000000.tar").read_bytes())
    shardpack.index(tmp_path, force=True, on_duplicate="keep")
    with pytest.raises(OptionError, match=r"resume with shardpack\.open\(\.\.\., generation=1\)"):
        shardpack.open(tmp_path).stream(shuffle="global").load_state_dict(state)
    resumed = shardpack.open(tmp_path, generation=1).stream(shuffle="global")
    resumed.load_state_dict(state)
    assert sorted(seen + [sample.position for sample in resumed]) == list(range(8))


def test_seeds_are_equal_modulo_2_to_the_64():
    state = DS.stream(**OPTIONS | {"seed": -5}).state_at(3)
    stream = DS.stream(**OPTIONS | {"seed": 2**64 - 5})
    assert positions(stream) == positions(DS.stream(**OPTIONS | {"seed": -5}))
    stream.load_state_dict(state)


def test_a_view_of_all_positions_is_the_dataset():
    everything = DS.select(range(len(DS)))
    for mode in SHUFFLES:
        options = {**OPTIONS, "shuffle": mode}
        assert positions(everything.stream(**options)) == positions(DS.stream(**options))
        assert everything.stream(**options).state_dict() == DS.stream(**options).state_dict()
    assert DS.select(range(len(DS) - 1)).stream().state_dict()["view"] != ""


# Nothing planned beforehand


@pytest.mark.parametrize("batch_size", [None, 48])
@pytest.mark.parametrize("before", [1, 2, 8])
def test_a_bare_stream_resumes_at_every_world_size_that_divides_its_partitions(batch_size, before):
    def make(world_size):
        size = None if batch_size is None else batch_size // world_size
        return [BIG.stream(shuffle="blocks", rank=r, world_size=world_size, batch_size=size) for r in range(world_size)]

    first = make(before)
    state = saved(first[0].state_at(2 * first[0].batch_size))
    assert state["partitions"] == (64 if batch_size is None else 48)
    assert state["window_blocks"] == 32 * before
    seen = [p for stream in first for p in positions(stream)[: 2 * stream.batch_size]]
    for after in (1, 2, 4, 16):
        rest = []
        for stream in make(after):
            stream.load_state_dict(state)
            assert stream.state_dict() == {**state, "rank_samples": stream.resume_at, "world_size": after}
            rest += positions(stream)
        assert set(seen) | set(rest) == set(range(len(BIG)))
        assert not set(seen) & set(rest)
        assert len(rest) - len(set(rest)) < after


def test_stored_orders_have_one_partition_a_rank():
    for mode in ("none", "shards"):
        assert DS.stream(shuffle=mode, batch_size=8).state_dict()["partitions"] == 1
        assert DS.stream(shuffle=mode, world_size=3).state_dict()["partitions"] == 3


def test_streams_know_the_state_without_work():
    """`state_dict` is called for each batch: no hash of the manifest or view is worked out again."""
    stream = VIEW.stream()
    first = stream.state_dict()
    epochs = stream.epochs
    assert isinstance(epochs, DatasetEpochs)
    again = stream.state_dict()
    assert again == first
    assert again["view"] is first["view"]
    assert again["fingerprint"] is first["fingerprint"]
