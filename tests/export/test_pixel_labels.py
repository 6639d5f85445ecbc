"""Labels in the one shape, checked on their way to formats of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.codecs.label_types import type_of
from shardpack.errors import ExportError
from shardpack.export.exporter import Contents, LabelSurvey
from shardpack.export.pixel_labels import (
    annotations_of,
    area_of,
    box_of,
    label_number,
    members_of_annotations,
    polygons_of,
    size_of,
)
from tests.conftest import make_jpeg

SQUARE = [0, 0, 4, 0, 4, 4, 0, 4]


def test_sizes_are_those_of_the_image():
    assert size_of({}, make_jpeg(32, 24)).width == 32
    assert size_of({"width": 32, "height": 24}, make_jpeg(32, 24)).height == 24
    with pytest.raises(ExportError, match="for 24 x 32 pixels, but the image has 32 x 24"):
        size_of({"width": 24, "height": 32}, make_jpeg(32, 24))


def test_annotations():
    assert annotations_of({}) == []
    assert annotations_of({"annotations": [{}]}) == [{}]
    for wrong in ({}, "x", [1], 3):
        with pytest.raises(ExportError, match="not a list of objects"):
            annotations_of({"annotations": wrong})


def test_boxes():
    assert box_of({"bbox": [1, 2, 3, 4.5]}) == [1, 2, 3, 4.5]
    assert box_of({"segmentation": [SQUARE, [8, 8, 9, 8, 9, 10.5]]}) == [0, 0, 9, 10.5]
    assert box_of({}) is None
    assert box_of({"segmentation": {"size": [1, 1], "counts": [1]}}) is None
    for wrong in ([1, 2, 3], [1, 2, 3, "4"], "x", [1, 2, 3, True]):
        with pytest.raises(ExportError, match="expected \\[x, y, w, h\\]"):
            box_of({"bbox": wrong})


def test_polygons():
    assert polygons_of({"segmentation": [SQUARE]}) == [SQUARE]
    assert polygons_of({"segmentation": []}) is None
    for wrong in ([1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], ["x"] * 6, 3):
        with pytest.raises(ExportError, match="expected x, y of three points or more"):
            polygons_of({"segmentation": [wrong]})


def test_areas():
    assert area_of({"area": 3.5}, [0, 0, 4, 4]) == 3.5
    assert area_of({"segmentation": [SQUARE, SQUARE]}, [0, 0, 4, 4]) == 32
    assert area_of({}, [0, 0, 4, 4.5]) == 18


def test_numbers_of_classes():
    assert label_number({"label": 3}, None) == 3
    assert label_number({"class": "b"}, ["a", "b"]) == 1
    for unknown in ({"class": "c"}, {"class": ["b"]}, {"label": -1}, {"label": True}, {}):
        assert label_number(unknown, ["a", "b"]) is None


def test_members():
    def contents(value):
        types = {name: type_of(one) for name, one in value.items()}
        return Contents(None, {}, {}, np.zeros(1), (), "", LabelSurvey(types, {}, has_classes=False))

    assert members_of_annotations(contents({})) == {}
    assert members_of_annotations(contents({"annotations": 3})) == {}
    assert list(members_of_annotations(contents({"annotations": [{"bbox": [1]}, {"x": 1}]}))) == ["bbox", "x"]
