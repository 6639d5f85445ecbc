"""Coordinates in labels are found where they are, and not where they are not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from shardpack.codecs.arrays import encode_npz
from shardpack.codecs.coordinates import find_coordinates, find_in_field
from shardpack.errors import DecodeError


@pytest.mark.parametrize(
    ("label", "where"),
    [
        ({"bbox": [1, 2, 3, 4]}, "bbox"),
        ({"objects": [{"label": 1}, {"bndbox": {"xmin": 1, "xmax": 2}}]}, "objects[1].bndbox"),
        ({"objects": {"bbox_xyxy": [[1, 2, 3, 4]]}}, "objects.bbox_xyxy"),
        ([{"facePolygon": [[1, 2], [3, 4]]}], "[0].facePolygon"),
        ({"shapes": [{"label": "a", "points": [[1.5, 2], [3, 4]]}]}, "shapes[0].points"),
        ({"XMin": 0.5}, "XMin"),
        ({"x1": 3, "y1": 4}, "x1 and y1"),
        ({"x1": 3}, "x1"),
        ({"nose": {"x": 3, "y": 4}}, "nose"),
        ({"x": 3.5, "y": 4}, "x and y"),
        ({"mask": {"size": [2, 3], "counts": "61"}}, "mask"),
        ({"left": 1, "top": 2, "width": 3, "height": 4}, "left and top"),
        ({"landmarks": {"nose": [1, 2]}}, "landmarks"),
        ({"keypoints2d": [1, 2, 3]}, "keypoints2d"),
        ({"bbox": "[1, 2.5, 3, 4]"}, "bbox"),
        ({"bbox": "1 2 3 4"}, "bbox"),
        ({"lefteye_x": 3, "lefteye_y": 4}, "lefteye_x and lefteye_y"),
        ({"x_1": 3, "y_1": 4}, "x_1 and y_1"),
        ({"centerX": "3", "centerY": "4"}, "centerX and centerY"),
        ({"a": {"nose-x": 0.5, "nose-y": 0.5}}, "a"),
        ({"x_min": "34"}, "x_min"),
        ({"faces": [[1, 2, 3, 4]]}, "faces"),
        ({"left_eye": [1, 2], "right_eye": [3, 4]}, "left_eye"),
        ({"region": {"tlwh": [1, 2, 3, 4]}}, "region"),
        ({"center": [1, 2], "scale": 1.5}, "center"),
        ({"object": {"tl": [1, 2], "br": [30, 40]}}, "object.tl"),
        ({"top_left": [1, 2], "bottomRight": [30, 40]}, "top_left"),
        ({"annotations": '[{"bbox": [1, 2, 3, 4]}]'}, "annotations[0].bbox"),
        ({"objects": [{"label": 1, "segmentation": "[[1, 2, 3, 4, 5, 6]]"}]}, "objects[0].segmentation"),
        ({"objects": ['{"bbox": [1, 2, 3, 4]}']}, "objects[0].bbox"),
        ({"mask": ' {"size": [2, 3], "counts": "61"}'}, "mask"),
    ],
)
def test_found(label, where):
    assert find_coordinates(label) == where
    assert find_in_field("json", json.dumps(label).encode()) == where


@pytest.mark.parametrize(
    "label",
    [
        3,
        [0.25, 0.5],
        None,
        {"label": 3, "class": "cat"},
        {"width": 640, "height": 480, "caption": "a box of points"},
        {"points": 120, "score": 0.5},
        {"annotations": []},
        {"bbox": []},
        {"bbox": None, "box": "none", "has_box": True},
        {"attention_mask": [1, 1, 0], "embedding": [0.5, 1.5]},
        {"shape": [480, 640, 3], "location": "left"},
        {"x": 3},
        {"size": [2, 3]},
        {"max": 3, "may": 4, "tax": 3, "tay": 4, "eye_x": "left", "eye_y": "right"},
        {"caption": "[a box]", "objects": '[{"label": 1}]', "other": "{", "half": "[\ud800"},
        {"points": "many", "box": "3", "x1": "left", "bbox": ""},
    ],
)
def test_not_found(label):
    assert find_coordinates(label) is None
    assert find_in_field("json", json.dumps(label).encode()) is None


@pytest.mark.parametrize(
    ("field", "payload", "where"),
    [
        ("txt", b"0 0.5 0.5 0.25 0.25\n12 0.1 0.2 0.3 0.4\n", "its lines"),
        ("txt", b"3 0.1 0.2 0.3 0.4 0.5 0.6", "its lines"),
        ("txt", b"a box at 3 4 5 6", None),
        ("txt", b"2024 was 1 good year", None),
        ("txt", b"", None),
        ("txt", b"5", None),
        ("xml", b"<annotation><object><bndbox><xmin>3</xmin>", "its boxes"),
        ("xml", b"<annotation><object><name>cat</name>", None),
        ("boxes.npy", b"", "all of it"),
        ("emb.npy", b"", None),
        ("boxes.json", b"[[1, 2, 3, 4]]", "boxes.json"),
        ("cls", b"3", None),
        ("mp4", b"\0", None),
        ("bbox", b"1 2 3 4", "all of it"),
        ("csv", b"name,x_min,y_min\ncat,3,4\n", "x_min"),
        ("csv", b"name,nose_x,nose_y\r\ncat,3,4", "nose_x"),
        ("csv", b"name;age\ncat;3\n", None),
        ("tsv", b"name\tx\ty\ncat\t3\t4\n", "x"),
        ("yaml", b"objects:\n- name: cat\n  bbox: [10, 20, 30, 40]\n", "bbox"),
        ("yaml", b"objects:\n- name: cat\n  bbox:\n  - 10.5\n  - 20\n", "bbox"),
        ("yml", b"nose: {x: 10, y: 20}\n", "x"),
        ("yml", b"xmin: 10\n", "xmin"),
        ("yaml", b"faces: 2\nlabel: 3\nnose: red\ntags: [1, 2]\ncaption: a box of 3 points\n", None),
        ("npz", encode_npz({"boxes": np.zeros((2, 4)), "ids": np.zeros(2)}), "boxes"),
        ("npz", encode_npz({"embedding": np.zeros(4)}), None),
    ],
)
def test_fields_that_are_not_json(field, payload, where):
    assert find_in_field(field, payload) == where


def test_message_pack_is_looked_into():
    msgpack = pytest.importorskip("msgpack")
    assert find_in_field("msgpack", msgpack.packb({"bbox": [1, 2, 3, 4]})) == "bbox"
    assert find_in_field("msgpack", msgpack.packb({"label": 3, "emb": b"..."})) is None
    with pytest.raises(DecodeError, match="'msgpack' does not decode"):
        find_in_field("msgpack", b"\xc1")


def test_damaged_archives_are_told():
    with pytest.raises(DecodeError, match="'npz' does not decode"):
        find_in_field("npz", b"PK")


def test_compressed_labels_are_looked_into():
    import gzip

    assert find_in_field("json.gz", gzip.compress(b'{"bbox": [1, 2, 3, 4]}')) == "bbox"


def test_labels_that_are_not_json_are_told():
    with pytest.raises(DecodeError, match="not JSON"):
        find_in_field("json", b"{")


def test_a_label_nested_too_deeply_is_told():
    label = {}
    for _ in range(20_000):
        label = {"a": label}
    with pytest.raises(DecodeError, match="nested too deeply"):
        find_coordinates(label)
    while label:  # a deep object is not freed recursively
        label = label["a"]
