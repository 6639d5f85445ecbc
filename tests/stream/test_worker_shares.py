"""Steps given to workers in turn: exactly the stream's, for any number of workers, resumed anywhere. No torch here."""

from __future__ import annotations

import copy
import json
import pickle
from functools import partial
from itertools import chain, cycle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import OptionError
from shardpack.stream.worker_shares import MAX_WORKERS, Worker, WorkerShares
from tests.read.datasets import CountingStore, numbered, packed
from tests.strategies import examples

STORE = CountingStore(packed(numbered(45), max_shard_samples=6))
HERE: list[Worker | None] = [None]  # which worker this process plays


def find_worker():
    return HERE[0]


def make(**options):
    options = {"shuffle": "global", "seed": 1, "batch_size": 4, **options}
    make_stream = partial(shardpack.open(STORE).stream, **options)
    return WorkerShares(make_stream, find_worker)


def as_worker(number, of, iteration=8):
    HERE[0] = None if number is None else Worker(number, of, iteration)


@pytest.fixture(autouse=True)
def in_main():
    yield
    as_worker(None, 0)


def connected(shares):
    """Return what a DataLoader passes to a new worker: a copy on the same shared numbers."""
    return WorkerShares(shares.make_stream, find_worker, shares.shared)


def run(workers, iteration=8, batches=None):
    """Return the batches that a DataLoader would give: from its workers in turn."""
    found, iterators = [], {}
    for number, shares in enumerate(workers):
        as_worker(number, len(workers), iteration)
        iterators[number] = shares.steps()
    for number in cycle(range(len(workers))):
        if not iterators or len(found) == batches:
            break
        if number in iterators:
            as_worker(number, len(workers), iteration)
            step = next(iterators[number], None)
            if step is None:
                del iterators[number]
            else:
                found.append([sample.position for sample in step])
    as_worker(None, 0)
    return found


def steps_of(shares):
    return [[sample.position for sample in step] for step in shares.stream.steps()]


@examples(60)
@given(
    st.integers(1, 6),
    st.integers(1, 9),
    st.sampled_from(["pad", "drop", "exact"]),
    st.sampled_from([(0, 1), (0, 2), (1, 2), (2, 3)]),
    st.data(),
)
def test_workers_give_the_steps_in_order_and_resume_anywhere(num_workers, batch_size, tail, place, data):
    options = {"batch_size": batch_size * place[1], "tail": tail, "rank": place[0], "world_size": place[1]}
    shares = make(**options)
    reference = steps_of(shares)
    assert run([connected(shares) for _ in range(num_workers)]) == reference
    taken = data.draw(st.integers(0, len(reference)))
    state = json.loads(json.dumps(shares.state_after(taken)))
    other = make(**options)
    other.load_state_dict(state)
    again = data.draw(st.integers(1, 6))
    assert run([connected(other) for _ in range(again)]) == reference[taken:]
    further = data.draw(st.integers(0, len(reference) - taken))
    assert other.state_after(further)["rank_samples"] == shares.state_after(taken + further)["rank_samples"]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_each_worker_resumes_from_its_own_state(num_workers):
    shares = make()
    reference = steps_of(shares)
    for taken in range(len(reference) + 1):
        workers = [connected(shares) for _ in range(num_workers)]
        assert run(workers, batches=taken) == reference[:taken]
        states = []
        for number, worker in enumerate(workers):
            as_worker(number, num_workers)
            states.append(json.loads(json.dumps(worker.state_dict())))
        as_worker(None, 0)
        fresh = [connected(make()) for _ in range(num_workers)]
        for number, worker in enumerate(fresh):
            as_worker(number, num_workers)
            worker.load_state_dict(states[number])
        turn = taken % num_workers  # a StatefulDataLoader goes on with the worker whose turn it is
        found = run(fresh)
        if not turn:
            assert found == reference[taken:]
        assert sorted(chain(*found)) == sorted(chain(*reference[taken:]))
        as_worker(None, 0)
        with pytest.raises(OptionError, match="StatefulDataLoader keeps"):
            fresh[0].state_after(0)


def test_a_state_is_used_once():
    shares = make()
    reference = steps_of(shares)
    state = shares.state_after(3)
    workers = [connected(shares) for _ in range(2)]
    for iteration in (8, 9):  # new workers for each iteration, then persistent ones
        shares.load_state_dict(state)
        workers = [connected(shares) for _ in range(2)]
        assert run(workers, iteration) == reference[3:]
        assert run(workers, iteration) == reference, "the same processes again"
        assert run([connected(shares) for _ in range(3)], iteration + 10) == reference, "new ones"
        assert [[s.position for s in step] for step in shares.steps()] == reference, "none"


def test_epochs_and_states_reach_workers_that_run():
    shares = make()
    workers = [connected(shares) for _ in range(2)]
    first = run(workers)
    shares.set_epoch(1)
    assert shares.epoch == 1
    second = run(workers)
    assert second == steps_of(shares) != first
    state = shares.state_after(2)
    shares.set_epoch(5)
    shares.load_state_dict(state)
    shares.set_epoch(1)  # as the usual loop does
    assert run(workers) == second[2:]
    shares.set_epoch(1)
    assert run(workers) == second
    shares.load_state_dict(state)
    shares.set_epoch(0)
    assert run(workers) == first


def test_partitions_of_a_state_reach_workers_that_run():
    four = [make(world_size=4, rank=rank, batch_size=3, partitions=4) for rank in range(4)]
    state = four[0].state_after(2)
    seen = [p for shares in four for step in steps_of(shares)[:2] for p in step]
    rest = []
    for rank in range(2):
        shares = make(world_size=2, rank=rank, batch_size=6)
        workers = [connected(shares) for _ in range(2)]
        run(workers)
        shares.load_state_dict(state)
        rest += chain(*run(workers))
        assert shares.stream.state_dict()["partitions"] == 4
    assert set(seen) | set(rest) == set(range(45))
    assert len(seen) + len(rest) == 46, "one sample repeated, so that two ranks have equally many"


def test_without_workers_single_samples_count():
    shares = make()
    reference = [p for step in steps_of(shares) for p in step]
    for taken in range(len(reference) + 1):
        found = shares.samples()
        assert [next(found).position for _ in range(taken)] == reference[:taken]
        state = shares.state_dict()
        other = make()
        other.load_state_dict(state)
        assert other.state_dict() == state
        assert [sample.position for sample in other.samples()] == reference[taken:]


def test_a_state_within_a_step_needs_a_single_reader():
    shares = make()
    found = shares.samples()
    for _ in range(6):
        next(found)
    shares.load_state_dict(shares.state_dict())
    with pytest.raises(OptionError, match=r"within a step \(2 of 4 samples\)"):
        run([connected(shares) for _ in range(2)])
    one = run([connected(shares)])
    assert one == [steps_of(shares)[1][2:], *steps_of(shares)[2:]]


@pytest.mark.parametrize("taken", [4, 6, 11, 45])
@pytest.mark.parametrize("num_workers", [0, 1])
def test_steps_are_counted_from_within_a_step(taken, num_workers):
    """The first is what is left of one; samples that a DataLoader makes batches of are counted as they come."""
    shares = make()
    reference = [p for step in steps_of(shares) for p in step]
    state = shares.stream.state_at(taken)

    def begun(whole_steps):
        shares.load_state_dict(state)
        as_worker(None if not num_workers else 0, 1)
        found = connected(shares) if num_workers else shares
        given = [[s.position for s in step] for step in found.steps()] if whole_steps else found.samples()
        as_worker(None, 0)
        return given

    steps = begun(whole_steps=True)
    for count in range(len(steps) + 1):
        after = taken + sum(map(len, steps[:count]))
        assert shares.state_after(count)["rank_samples"] == after
        other = make()
        other.load_state_dict(shares.state_after(count))
        assert [s.position for s in other.samples()] == reference[after:]
    with pytest.raises(OptionError, match=f"the iteration has {len(steps)} batches of 4"):
        shares.state_after(len(steps) + 1)
    begun(whole_steps=False)
    for count in range(-(-(45 - taken) // 4)):
        assert shares.state_after(count)["rank_samples"] == taken + 4 * count


def test_what_cannot_be_known_is_refused():
    shares = make()
    with pytest.raises(OptionError, match="num_batches is 13, but the iteration has 12 batches of 4"):
        shares.state_after(13)
    with pytest.raises(OptionError, match="give it batch_size"):
        make(batch_size=None).state_after(1)
    worker = connected(shares)
    run([worker], batches=2)
    with pytest.raises(OptionError, match=r"read ahead of what you have seen; call state_after"):
        shares.state_dict()
    assert shares.state_after(1)["rank_samples"] == 4
    as_worker(0, 1)
    state = worker.state_dict()
    as_worker(None, 0)
    with pytest.raises(OptionError, match="state of one DataLoader worker"):
        shares.load_state_dict(state)
    as_worker(1, 2)
    with pytest.raises(OptionError, match="state is of worker 0 of 1, this is 1 of 2"):
        worker.load_state_dict(state)
    for wrong in ({"worker": 1, "num_workers": 2}, {**state, "worker": 1, "num_workers": 2, "stream": {}}, {}, None):
        with pytest.raises(OptionError, match=r"not a stream state|stream state has version"):
            worker.load_state_dict(wrong)
    as_worker(None, 0)
    with pytest.raises(OptionError, match="another order: seed"):
        make(seed=2).load_state_dict(shares.state_after(1))


def test_what_was_the_end_of_an_epoch_does_not_undo_set_epoch():
    """A StatefulDataLoader without workers loads late: after set_epoch, when iteration begins."""
    shares = make()
    ended = shares.state_after(len(steps_of(shares)))
    shares.set_epoch(4)
    shares.load_state_dict(ended)
    assert list(shares.steps()) == []
    assert shares.epoch == 4
    assert [[s.position for s in step] for step in shares.steps()] == steps_of(shares)


def test_a_worker_takes_the_state_of_a_main_process():
    shares = make()
    reference = steps_of(shares)
    state = shares.state_after(5)
    workers = [connected(shares) for _ in range(2)]
    for number, worker in enumerate(workers):
        as_worker(number, 2)
        worker.load_state_dict(state)
    assert run(workers) == reference[5:]


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda shares: pickle.loads(pickle.dumps(shares))], ids=["copy", "pickle"]
)
def test_copies_go_their_own_way(copied):
    shares = make()
    shares.load_state_dict(shares.state_after(2))
    other = copied(shares)
    assert other.epoch == 0
    other.set_epoch(3)
    assert shares.epoch == 0
    assert [len(step) for step in shares.steps()] == [len(step) for step in steps_of(shares)[2:]]
    assert [[s.position for s in step] for step in other.steps()] == steps_of(other)


def test_equal_seeds_do_not_resume_twice():
    """A DataLoader seeded alike for each loop starts new workers that look like those before."""
    shares = make()
    reference = steps_of(shares)
    shares.load_state_dict(shares.state_after(3))
    assert run([connected(shares) for _ in range(2)], iteration=7) == reference[3:]
    assert run([connected(shares) for _ in range(2)], iteration=7) == reference
    assert run([connected(shares) for _ in range(3)], iteration=7) == reference, "more workers than have resumed"


def test_too_many_workers_are_refused():
    shares = make()
    as_worker(0, MAX_WORKERS + 1)
    with pytest.raises(OptionError, match="choose at most 4096"):
        connected(shares).samples()


def test_the_window_of_a_state_reaches_workers_that_run():
    options = {"shuffle": "blocks", "block_bytes": 3000, "batch_size": 4}
    state = make(**options, window_blocks=2).state_after(1)
    shares = make(**options)
    workers = [connected(shares) for _ in range(2)]
    run(workers)
    shares.load_state_dict(state)
    assert run(workers) == steps_of(make(**options, window_blocks=2))[1:]
