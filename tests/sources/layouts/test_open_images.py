"""Boxes of tables reach the images with their IDs."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree

HEADER = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
)
CLASSES = "/m/dog,Dog\n/m/cat,Cat\n"


def test_boxes_classes_and_splits(tmp_path):
    images_in(tmp_path, "train/a.jpg", "validation/b.jpg", "c.jpg", "test/d.jpg")
    train = HEADER + "a,x,/m/cat,1,0.1,0.5,0.2,0.4,0,1,1,0,-1\nmissing,x,/m/cat,1,0,1,0,1,0,0,0,0,0\n"
    write_tree(tmp_path, {"train-annotations-bbox.csv": train, "class-descriptions-boxable.csv": CLASSES})
    test = HEADER + "d,x,/m/new,1,0,1,0,1,0,0,0,0,0\nc,x,/m/dog,1,0,1,0,1,0,0,0,0,0\n"
    write_tree(tmp_path, {"test-annotations-bbox.csv": test})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "open-images"
    assert set_.splits == {"train/a": "train", "validation/b": "validation", "c": "test", "test/d": "test"}
    assert set_.listing.classes == ("Dog", "Cat", "/m/new")
    box = {"bbox": [20, 20, 80, 20], "category_id": "/m/cat", "label": 1, "class": "Cat", "iscrowd": 1}
    assert set_.labels["train/a"] == {
        "width": 200,
        "height": 100,
        "annotations": [{**box, "occluded": 0, "truncated": 1, "depiction": 0}],
    }
    assert set_.labels["validation/b"] == {"width": 200, "height": 100}
    assert dict(set_.problems.noted) == {"images that are in no table": 1}
    assert not set_.rejected


def test_misfits_are_named(tmp_path):
    images_in(tmp_path, "a.jpg")
    write_tree(tmp_path, {"b.jpg": "no image", "annotations-bbox.csv": HEADER + "a,x,/m/cat,1,0,2,0,1,0,0,0,0,0\n"})
    set_ = Labelled(tmp_path)
    assert "the box [0.0, 2.0, 0.0, 1.0] is outside 0..1" in set_.rejected["annotations-bbox.csv:2"]
    assert set_.rejected["b.jpg"].startswith("b.jpg: not an image")
    write_tree(tmp_path, {"annotations-bbox.csv": "ImageID\n"})
    with pytest.raises(SourceError, match=r"annotations-bbox\.csv: no column 'LabelName'"):
        Labelled(tmp_path)
    (tmp_path / "annotations-bbox.csv").unlink()
    with pytest.raises(SourceError, match="no boxes of Open Images in"):
        Labelled(tmp_path, "open-images")
