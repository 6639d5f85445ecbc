"""A plot shows its dots inside the axes, for any numbers."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shardpack.inspect.plot import BOTTOM, DOT, HEIGHT, LEFT, RIGHT, TOP, WIDTH, scatter_png
from tests.strategies import examples


def plotted(x, y, ends):
    png = scatter_png(np.array(x, np.int64), np.array(y, np.int64), ends=ends, labels=("x", "y"), title="t")
    image = Image.open(io.BytesIO(png))
    image.load()
    assert image.format == "PNG"
    assert image.size == (WIDTH, HEIGHT)
    return np.argwhere((np.asarray(image) == DOT).all(axis=2))


@examples(20)
@given(st.data(), st.integers(1, 10**12), st.integers(1, 10**12))
def test_dots_stay_inside(data, right, top):
    x, y = (data.draw(st.lists(st.integers(0, end - 1), min_size=3, max_size=3)) for end in (right, top))
    dots = plotted(x, y, (right, top))
    assert 4 <= len(dots) <= 12
    assert dots.min(axis=0).tolist() >= [TOP, LEFT]
    assert (dots.max(axis=0) < [HEIGHT - BOTTOM, WIDTH - RIGHT]).all()


@pytest.mark.parametrize(
    ("x", "y", "where"), [(0, 0, "lower left"), (99, 99, "upper right"), (0, 99, "upper left"), (99, 0, "lower right")]
)
def test_the_axes_run_right_and_up(x, y, where):
    row, column = plotted([x], [y], (100, 100)).mean(axis=0)
    vertical = "upper" if row < HEIGHT / 2 else "lower"
    assert f"{vertical} {'left' if column < WIDTH / 2 else 'right'}" == where


def test_names_of_equal_dots_are_drawn_beside_one_another():
    def ink(*names):
        at = np.array([50, 50])
        png = scatter_png(at, at, ends=(100, 100), labels=("x", "y"), title="t", names=names)
        return int((np.asarray(Image.open(io.BytesIO(png))) == DOT).all(axis=2).sum())

    one = ink("name", "") - ink("", "")
    assert one > 0
    assert ink("name", "name") - ink("", "") == 2 * one
