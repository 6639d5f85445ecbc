"""The same steps at every world size, and resuming at another one with exactly the unseen samples."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from shardpack.order.options import SHUFFLES
from shardpack.order.partitions import TAILS
from tests.read.datasets import CountingStore, numbered, packed
from tests.strategies import examples

DS = shardpack.open(CountingStore(packed(numbered(53), max_shard_samples=7)))


def divisors(number):
    return [d for d in range(1, number + 1) if number % d == 0]


class Run:
    """A run of some ranks over one epoch, with the same options but for the world size."""

    def __init__(self, options, partitions, q, world_size):
        self.streams = [
            DS.stream(rank=r, world_size=world_size, partitions=partitions, batch_size=partitions * q // world_size,
                      block_bytes=3000, window_blocks=2, **options)
            for r in range(world_size)
        ]  # fmt: skip

    def load(self, state):
        for stream in self.streams:
            stream.load_state_dict(state)
        return self

    def steps(self):
        """Return the samples of each step, over all ranks, sorted; from the resume point on."""
        found = []
        for stream in self.streams:
            rest = [sample.position for sample in stream]
            batches = [rest[i : i + stream.batch_size] for i in range(0, len(rest), stream.batch_size)]
            found += [[] for _ in range(len(batches) - len(found))]
            for number, batch in enumerate(batches):
                found[number] += batch
        return [sorted(step) for step in found]


@st.composite
def layouts(draw):
    partitions = draw(st.sampled_from([1, 2, 4, 6, 12]))
    options = {"shuffle": draw(st.sampled_from(SHUFFLES)), "seed": draw(st.integers(0, 9))}
    options["tail"] = draw(st.sampled_from(TAILS))
    return options, partitions, draw(st.integers(1, 3))


worlds = st.sampled_from


def same(found, expected, tail):
    """Whether steps are the same, but for what ranks repeat or leave out in the last one."""
    if tail == "pad":
        return [set(step) for step in found] == [set(step) for step in expected]
    if tail == "drop" and found and len(found) == len(expected):
        return found[:-1] == expected[:-1] and set(found[-1]) <= set(expected[-1])
    return found == expected[: len(found)] if tail == "drop" else found == expected


@examples(30)
@given(layouts())
def test_steps_are_the_same_at_every_world_size(layout):
    alone = Run(*layout, 1).steps()
    assert sorted(position for step in alone for position in step) == list(range(53)), "alone there is no tail"
    for world_size in divisors(layout[1]):
        assert same(Run(*layout, world_size).steps(), alone, layout[0]["tail"])


@examples(60)
@given(layouts(), st.data())
def test_resumes_at_another_world_size_with_exactly_the_unseen(layout, data):
    """Stop after any step, go on at another world size, stop again, go on at a third."""
    all_steps = Run(*layout, 1).steps()
    first, second, third = (data.draw(worlds(divisors(layout[1]))) for _ in range(3))
    begin = data.draw(st.integers(0, len(all_steps)))
    then = data.draw(st.integers(begin, len(all_steps)))
    run = Run(*layout, first)
    stream = data.draw(st.sampled_from(run.streams))  # any rank's state serves
    state = stream.state_at(begin * stream.batch_size if begin < len(all_steps) else 10**6)
    run = Run(*layout, second).load(state)
    assert same(run.steps(), all_steps[begin:], layout[0]["tail"])
    stream = data.draw(st.sampled_from(run.streams))
    state = stream.state_at(then * stream.batch_size if then < len(all_steps) else 10**6)
    assert same(Run(*layout, third).load(state).steps(), all_steps[then:], layout[0]["tail"])


@examples(40)
@given(layouts(), st.data())
def test_union_is_exact(layout, data):
    world_size = data.draw(worlds(divisors(layout[1])))
    union = Counter(position for step in Run(*layout, world_size).steps() for position in step)
    extra = sum(union.values()) - 53
    if layout[0]["tail"] == "exact":
        assert union == Counter(range(53))
    elif layout[0]["tail"] == "pad":
        assert union.keys() == set(range(53))
        assert 0 <= extra < world_size
    else:
        assert set(union.values()) == {1}
        assert 0 <= -extra < world_size


def test_partitions_are_those_of_the_first_start():
    state = DS.stream(shuffle="global", world_size=4, rank=2, partitions=4).state_at(5)
    assert (state["partitions"], state["global_batch"]) == (4, 4)
    whole = [DS.stream(shuffle="global", world_size=4, rank=r, partitions=4) for r in range(4)]
    steps = [sorted(s.position for s in step) for step in zip(*whole, strict=True)]
    alone = DS.stream(shuffle="global")
    alone.load_state_dict(state)
    assert alone.batch_size == 4
    assert [{s.position for s in step} for step in alone.steps(alone.resume_step)] == [set(step) for step in steps[5:]]
    assert alone.state_dict()["partitions"] == 4
    with pytest.raises(OptionError, match=r"4 partitions cannot be divided evenly between 3 ranks; .* them: 1, 2, 4"):
        DS.stream(shuffle="global", world_size=3).load_state_dict(state)


def test_within_a_step_only_the_same_world_size_goes_on():
    options = {"shuffle": "blocks", "partitions": 4}
    state = DS.stream(**options, batch_size=4, world_size=2).state_at(6)
    for world_size, batch_size in ((1, 8), (4, 2)):
        stream = DS.stream(**options, batch_size=batch_size, world_size=world_size)
        with pytest.raises(OptionError, match="within a step \\(2 of 4 samples\\); resume at world size 2, or take"):
            stream.load_state_dict(state)
        assert stream.resume_at == 0
    same = DS.stream(**options, batch_size=4, world_size=2, rank=1)
    whole = [sample.position for sample in same]
    same.load_state_dict(state)
    assert [sample.position for sample in same] == whole[6:]


@pytest.mark.parametrize("world_size", [1, 2, 3, 5, 53, 60])
def test_an_exhausted_rank_says_so_for_all(world_size):
    """With "exact" ranks end at different counts: a state taken behind the end leaves nothing to anybody."""
    streams = [DS.stream(tail="exact", rank=r, world_size=world_size) for r in range(world_size)]
    assert max(map(len, streams)) - min(map(len, streams)) <= 1
    for stream in streams:
        assert len(list(stream)) == len(stream)
    for stream in streams:
        state = stream.state_dict()
        for other in streams:
            other.load_state_dict(state)
            assert list(other) == []
    alone = DS.stream(tail="exact")
    alone.load_state_dict(streams[0].state_dict())
    assert list(alone) == []


@pytest.mark.parametrize("mode", SHUFFLES)
def test_one_shard_and_many_ranks(mode):
    ds = shardpack.open(CountingStore(packed(numbered(10))))
    found = [[s.position for s in ds.stream(shuffle=mode, rank=r, world_size=64)] for r in range(64)]
    assert {len(part) for part in found} == {1}
    assert {position for part in found for position in part} == set(range(10))
    assert all(not list(ds.stream(shuffle=mode, rank=r, world_size=64, tail="drop")) for r in (0, 63))


def test_an_empty_view_is_an_empty_epoch():
    for mode in SHUFFLES:
        for tail in TAILS:
            stream = DS.select([]).stream(shuffle=mode, world_size=2, rank=1, tail=tail)
            assert (len(stream), stream.num_steps, list(stream), list(stream.steps())) == (0, 0, [], [])
            stream.load_state_dict(stream.state_dict())
            assert list(stream) == []
