"""Views are kept in the form that takes the least memory, and are the same list in each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.bitmap import Bitmap
from shardpack.order.listed import Listed
from shardpack.order.positions import compact, compact_runs, part_of
from shardpack.order.runs import Runs
from shardpack.order.visible import Visible
from tests.order.sequences import check_sequence
from tests.order.test_runs import listed, runs

some_positions = st.one_of(
    st.lists(st.integers(0, 150), max_size=20),
    st.sets(st.integers(0, 150), max_size=80).map(sorted),
    st.builds(lambda start, stop, step: list(range(start, stop, step)), st.integers(0, 9), st.integers(0, 99),
              st.integers(1, 3)),
)  # fmt: skip


@given(some_positions)
def test_it_is_the_same_list(positions):
    check_sequence(compact(np.array(positions, np.int64)), positions)


@given(some_positions, st.integers(0, 99), st.integers(0, 99), st.sampled_from([1, 1, 2, -1]))
def test_a_part_is_a_slice(positions, start, stop, step):
    items = range(*slice(start, stop, step).indices(len(positions)))
    check_sequence(part_of(compact(np.array(positions, np.int64)), items), positions[start:stop:step])


@given(runs())
def test_runs_are_kept_in_any_form(of):
    if of.step == 1:
        check_sequence(compact_runs(of), listed(of))


def test_the_form_is_that_which_takes_least_memory():
    rng = np.random.default_rng(0)
    dense, sparse = np.flatnonzero(rng.random(100_000) < 0.5), np.arange(300) ** 2
    blocks = np.flatnonzero(np.arange(1_000_000) // 1000 % 2)
    forms = [(blocks, Runs), (np.arange(0, 999, 3), Runs), (dense, Bitmap), (sparse, Listed), (dense[::-1], Listed)]
    assert [type(compact(positions)) for positions, _ in forms] == [form for _, form in forms]
    assert isinstance(compact_runs(Runs(dense, np.ones(len(dense), np.int64))), Bitmap)
    assert isinstance(compact_runs(Runs([0], [1 << 50])), Runs)
    visible = Visible(1 << 50, np.array([1, 7]))
    assert listed(part_of(visible, range(1, 6))) == [2, 3, 4, 5, 6]
    assert isinstance(part_of(visible, range(2, 1 << 49)), Runs)
