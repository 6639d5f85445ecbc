"""Clipped polygons stay within the image and lose only what is outside of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.polygons import clip_polygon, polygon_area, rounded
from tests.strategies import examples

NUMBERS = st.integers(-30, 60)


def rectangle(x, y, width, height):
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


@given(NUMBERS, NUMBERS, st.integers(1, 50), st.integers(1, 50))
def test_rectangles_become_their_intersection(x, y, width, height):
    clipped = clip_polygon(rectangle(x, y, width, height), 20, 10)
    across = max(0, min(x + width, 20) - max(x, 0))
    down = max(0, min(y + height, 10) - max(y, 0))
    assert polygon_area(clipped) == across * down


@examples(200)
@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=3, max_size=12))
def test_parts_are_within_bounds_and_no_larger(points):
    polygon = np.array(points, float)
    clipped = clip_polygon(polygon, 20, 10)
    assert ((clipped >= 0) & (clipped <= (20, 10))).all()
    inside = ((polygon >= 0) & (polygon <= (20, 10))).all()
    if inside:
        np.testing.assert_array_equal(clipped, polygon)


@examples(200)
@given(st.lists(st.floats(0, 6.28), min_size=3, max_size=12, unique=True), NUMBERS, NUMBERS)
def test_area_of_convex_polygons_adds_up_over_tiles(angles, x, y):
    angles = np.sort(np.array(angles))
    polygon = np.stack((x + 15 * np.cos(angles), y + 15 * np.sin(angles)), axis=1)
    total = 0.0
    for left in range(-60, 100, 40):
        for top in range(-60, 100, 40):
            total += polygon_area(clip_polygon(polygon - (left, top), 40, 40))
    assert total == pytest.approx(polygon_area(polygon), abs=1e-6)


def test_less_than_a_triangle_has_no_area():
    assert polygon_area(np.zeros((0, 2))) == 0
    assert polygon_area(np.array([[0, 0], [5, 5.0]])) == 0


@pytest.mark.parametrize(("value", "result"), [(1.0, 1), (0.12345, 0.123), (-0.0001, 0), (np.float64(2.5), 2.5)])
def test_positions_are_rounded(value, result):
    assert repr(rounded(value)) == repr(result)
