"""Names of dots can be read: none covers another, or a dot, and all are inside the plot."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.inspect.label_places import Box, place_labels
from tests.strategies import examples

AREA = Box(97, 44, 876, 580)


@examples(25)
@given(st.lists(st.tuples(st.integers(97, 875), st.integers(44, 579)), min_size=1, max_size=8))
def test_no_text_covers_another_or_a_dot(dots):
    places = place_labels(dots, [100] * len(dots), 16, AREA)
    assert len(places) == len(dots)
    assert not any(a.overlaps(b) for a, b in combinations(places, 2))
    assert all(AREA.contains(place) for place in places)
    assert not any(place.left <= x < place.right and place.top <= y < place.bottom for x, y in dots for place in places)


def test_a_text_is_to_the_right_of_its_dot_if_there_is_room():
    assert place_labels([(200, 300)], [50], 16, AREA) == [Box(208, 292, 258, 308)]
    assert place_labels([(870, 300)], [50], 16, AREA) == [Box(812, 292, 862, 308)]


def test_equal_dots_have_texts_of_their_own():
    first, second = place_labels([(200, 300)] * 2, [50] * 2, 16, AREA)
    assert (first.right - first.left, second.right - second.left) == (50, 50)
    assert not first.overlaps(second)


def test_a_text_without_a_free_place_is_still_there():
    assert place_labels([(5, 5)], [50], 16, Box(0, 0, 20, 20)) == [Box(13, -3, 63, 13)]


@pytest.mark.parametrize(("other", "shared"), [(Box(9, 9, 20, 20), True), (Box(10, 0, 20, 10), False)])
def test_boxes_are_half_open(other, shared):
    assert Box(0, 0, 10, 10).overlaps(other) is other.overlaps(Box(0, 0, 10, 10)) is shared
