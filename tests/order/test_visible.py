"""Visible samples and their positions, against plain lists."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shardpack.order import visible as visible_module
from shardpack.order.runs import Runs
from shardpack.order.visible import Visible
from tests.order.sequences import check_sequence
from tests.order.test_runs import listed, runs


def deletions():
    return st.integers(0, 60).flatmap(
        lambda total: st.tuples(st.just(total), st.sets(st.integers(0, max(0, total - 1)), max_size=total))
    )


def made(total, deleted):
    return Visible(total, np.array(sorted(deleted), np.int64))


@given(deletions())
@example((3, {0, 1, 2}))
def test_a_sequence_of_stored_positions(which):
    total, deleted = which
    kept = [stored for stored in range(total) if stored not in deleted]
    found = made(total, deleted)
    check_sequence(found, kept)
    check_sequence(found.runs(), kept)
    assert [found.position_of(stored) for stored in kept] == list(range(len(kept)))
    assert found.positions_of(np.array(kept, np.int64)).tolist() == list(range(len(kept)))


@given(deletions(), st.sets(st.integers(0, 70)))
def test_a_list_without_the_deleted(which, positions):
    total, deleted = which
    found = made(total, deleted).only(np.array(sorted(positions), np.int64))
    assert found.tolist() == sorted(positions - deleted)


@given(deletions(), runs())
def test_runs_without_the_deleted(which, of):
    total, deleted = which
    kept = made(total, deleted).keep(of) if of.step == 1 else Runs([], [])
    assert listed(kept) == ([stored for stored in listed(of) if stored not in deleted] if of.step == 1 else [])
    assert (kept.count > 0).all()


@pytest.mark.parametrize("few", [0, 1 << 14])
def test_tables_of_many_deleted_samples_find_the_same(few, monkeypatch):
    monkeypatch.setattr(visible_module, "_FEW", few)
    rng = np.random.default_rng(0)
    for total, count in ((100_000, 1000), (100_000, 99_000), (1 << 40, 1000)):
        deleted = np.unique(rng.integers(total, size=count))
        found = Visible(total, deleted)
        positions = rng.integers(len(found), size=1000)
        stored = found.at(positions)
        assert not np.isin(stored, deleted).any()
        assert [found[position] for position in positions.tolist()] == stored.tolist()
        assert (found.positions_of(stored) == positions).all()


def test_where_most_is_deleted_no_look_up_searches():
    deleted = np.flatnonzero(np.arange(10_000) % 3)
    found = Visible(10_000, deleted)
    assert min(found.skipped) >= 0
    assert [found[position] for position in range(len(found))] == list(range(0, 10_000, 3))


def test_memory_is_in_proportion_to_what_is_deleted():
    found = Visible(1 << 50, np.arange(0, 1 << 20, 1024))
    assert len(found.skipped) < 50_000
    assert found[len(found) - 1] == (1 << 50) - 1
