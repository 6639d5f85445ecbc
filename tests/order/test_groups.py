"""Groups of some samples alone, as a view or split has them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shardpack.order.groups import Groups

GROUPS = Groups(("b", "a", "none", "c"), np.array([0, 3, 5, 5, 9]), np.array([1, 4, 8, 0, 3, 2, 5, 6, 7]))


def as_lists(groups):
    return [groups.positions[a:b].tolist() for a, b in zip(groups.starts[:-1], groups.starts[1:], strict=True)]


@given(st.lists(st.lists(st.integers(0, 8), max_size=6), max_size=4))
def test_groups_of_a_view(pieces):
    found = GROUPS.among([np.array(piece, np.int64) for piece in pieces], 9)
    listed = [position for piece in pieces for position in piece]
    assert as_lists(found) == [[p for p in group for _ in range(listed.count(p))] for group in as_lists(GROUPS)]
    assert found.positions.dtype == np.uint32


def test_a_sample_that_comes_very_often():
    found = GROUPS.among([np.full(200, 4), np.full(200, 4), np.array([0])], 9)
    assert found.counts.tolist() == [400, 1, 0, 0]


def test_classes_are_sorted_by_name_and_have_samples():
    found = GROUPS.without([3])
    assert (found.names, found.first.tolist(), found.count.tolist(), found.group) == (
        ("a", "b"),
        [3, 0],
        [2, 3],
        (1, 0),
    )
    assert len(GROUPS.without(range(4))) == 0


def test_digests_tell_names_weights_and_positions_apart():
    moved = Groups(GROUPS.names, GROUPS.starts, np.array([1, 4, 8, 0, 3, 2, 5, 6, 9], np.uint32))
    renamed = Groups(("b", "x", "none", "c"), GROUPS.starts, GROUPS.positions)
    longer = Groups(GROUPS.names, np.array([0, 4, 5, 5, 9]), GROUPS.positions)
    digests = [groups.without(()).digest([1, 1, 1]) for groups in (GROUPS, moved, renamed, longer)]
    digests.append(GROUPS.without(()).digest([1, 1, 2]))
    assert len(set(digests)) == 5
    wider = Groups(GROUPS.names, GROUPS.starts, GROUPS.positions.astype(np.uint32))
    assert wider.without(()).digest([1, 1, 1]) == digests[0], "but not widths"
    assert len(digests[0]) == 16
