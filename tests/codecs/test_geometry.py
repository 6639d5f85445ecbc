"""Points and masks land where the pixels land: judged by Pillow's turns, and by the pixels themselves."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from shardpack.codecs.geometry import Geometry, turned_size
from shardpack.codecs.resize import Cutout
from tests.codecs.geometries import ORIENTATIONS, geometries
from tests.strategies import examples


def turned_by_pillow(array, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "png", exif=exif)
    return np.asarray(ImageOps.exif_transpose(Image.open(buffer)))


def turn(height, width, orientation):
    return Geometry(height, width, Cutout.unchanged(*turned_size(height, width, orientation)), orientation)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_turns_are_those_of_pillow(orientation):
    array = np.arange(35, dtype=np.uint8).reshape(5, 7)
    geometry = turn(5, 7, orientation)
    np.testing.assert_array_equal(geometry.move_mask(array), turned_by_pillow(array, orientation))
    assert geometry.is_unchanged == (orientation == 1)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_points_turn_as_pixels_do(orientation):
    geometry = turn(5, 7, orientation)
    for row, column in np.ndindex(5, 7):
        array = np.zeros((5, 7), np.uint8)
        array[row, column] = 1
        (new_row,), (new_column,) = np.nonzero(turned_by_pillow(array, orientation))
        moved = geometry.move_points(np.array([[column + 0.5, row + 0.5]]))
        assert moved.tolist() == [[new_column + 0.5, new_row + 0.5]]


@examples(200)
@given(geometries())
def test_each_pixel_of_a_mask_comes_from_where_its_centre_was(geometry):
    rows, columns = np.indices((geometry.height, geometry.width))
    moved_rows, moved_columns = geometry.move_mask(rows), geometry.move_mask(columns)
    assert moved_rows.shape == (geometry.target.height, geometry.target.width)
    low = np.stack((moved_columns.ravel(), moved_rows.ravel()), axis=1).astype(float)
    one, other = geometry.move_points(low), geometry.move_points(low + 1)
    centre = np.stack(np.indices(moved_rows.shape)[::-1], axis=-1).reshape(-1, 2) + 0.5
    assert (np.minimum(one, other) <= centre + 1e-9).all()
    assert (np.maximum(one, other) >= centre - 1e-9).all()


@given(geometries())
def test_corners_of_the_part_become_corners_of_the_result(geometry):
    corners = np.array([[0, 0], [geometry.width, geometry.height]], float)
    moved = geometry.move_points(corners)
    target = geometry.target
    upright = turned_size(geometry.height, geometry.width, geometry.orientation)
    across, down = geometry.scale
    np.testing.assert_allclose(moved.min(axis=0), (-target.left * across, -target.top * down), atol=1e-6)
    np.testing.assert_allclose(
        moved.max(axis=0), ((upright[1] - target.left) * across, (upright[0] - target.top) * down), atol=1e-6
    )


@given(st.integers(1, 30), st.integers(1, 30))
def test_unchanged_leaves_everything(height, width):
    geometry = Geometry.unchanged(height, width)
    mask = np.arange(height * width).reshape(height, width)
    assert geometry.is_unchanged
    np.testing.assert_array_equal(geometry.move_mask(mask), mask)
    points = np.array([[0, 0], [width, height], [0.25, height / 2]])
    np.testing.assert_array_equal(geometry.move_points(points), points)


def test_masks_with_channels_move_alike():
    mask = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    geometry = Geometry(4, 3, Cutout(2, 2, 0, 1, 3, 3), 6)
    for channel in range(2):
        np.testing.assert_array_equal(geometry.move_mask(mask)[..., channel], geometry.move_mask(mask[..., channel]))
