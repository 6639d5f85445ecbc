"""Parallel folders make samples of several images; classes that look alike do not."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in


def test_parallel_folders(tmp_path):
    images_in(tmp_path, "train/RGB/0.jpg", "train/depth/0.png", "val/RGB/1.jpg", "val/depth/1.jpg")
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "views"
    assert set_.found.title == "images in parallel folders (RGB, depth)"
    assert set_.fields == {
        "train/0": {"rgb.jpg": "train/RGB/0.jpg", "depth.png": "train/depth/0.png"},
        "val/1": {"rgb.jpg": "val/RGB/1.jpg", "depth.jpg": "val/depth/1.jpg"},
    }
    assert set_.splits == {"train/0": "train", "val/1": "val"}
    assert not set_.labels


def test_images_without_a_counterpart_are_named(tmp_path):
    images_in(tmp_path, "rgb/0.jpg", "rgb/1.jpg", "depth/0.png", "depth/2.png")
    with pytest.raises(
        SourceError, match=r"'rgb' and 'depth' may be two images of each sample, or two classes; say wh"
    ):
        Labelled(tmp_path)
    set_ = Labelled(tmp_path, "views")
    assert list(set_.fields) == ["0"]
    assert set_.rejected == {
        "rgb/1.jpg": "has no counterpart in 'depth'; add it, or remove it",
        "depth/2.png": "has no counterpart in 'rgb'; add it, or remove it",
    }


def test_names_that_may_be_classes_are_a_question(tmp_path):
    images_in(tmp_path, "left/0.jpg", "right/0.jpg")
    with pytest.raises(SourceError, match="--layout views or --layout classes"):
        Labelled(tmp_path)
    assert set(Labelled(tmp_path, "views").fields["0"]) == {"left.jpg", "right.jpg"}
    assert set(Labelled(tmp_path, "classes").fields) == {"left/0", "right/0"}


@pytest.mark.parametrize(
    "names",
    [
        ["left/0.jpg", "right/1.jpg"],  # nothing in common: classes
        ["left/0.jpg", "right/0.jpg", "straight/0.jpg"],  # one more: classes
        ["cat/0.jpg", "dog/0.jpg"],
        ["left/0.jpg"],
    ],
)
def test_classes_stay_classes(tmp_path, names):
    images_in(tmp_path, *names)
    assert Labelled(tmp_path).found.layout == "classes"
    with pytest.raises(SourceError, match="no parallel folders in"):
        Labelled(tmp_path, "views")
