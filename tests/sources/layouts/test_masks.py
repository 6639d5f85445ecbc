"""Images find their masks by folder or suffix; what has no partner is named, and two candidates are a question."""

from __future__ import annotations

import pytest

from shardpack.codecs.field_types import is_mask
from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree


@pytest.mark.parametrize(
    ("image", "mask", "key", "field"),
    [
        ("images/0.jpg", "masks/0.png", "0", "mask.png"),
        ("images/a/0.jpg", "labels/a/0.png", "a/0", "mask.png"),
        ("a/JPEGImages/0.jpg", "a/SegmentationClass/0.png", "a/0", "seg.png"),
        ("Images/0.tif", "GT/0.TIF", "0", "mask.tif"),
        ("images/0.jpg", "masks/0_mask.png", "0", "mask.png"),
        ("images/0.jpg", "annotations/0.png", "0", "mask.png"),
        ("cars/0.jpg", "cars_masks/0_mask.gif", "cars/0", "mask.gif"),
        ("0.jpg", "0_seg.png", "0", "seg.png"),
        ("a/0.jpg", "a/0-mask.png", "a/0", "mask.png"),
        ("0_1.jpg", "0_1_mask.png", "0_1", "mask.png"),
    ],
)
def test_pairs(tmp_path, image, mask, key, field):
    images_in(tmp_path, image, mask)
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "masks"
    assert set_.fields == {key: {image.rpartition(".")[2]: image, field: mask}}
    assert is_mask(field)
    assert not set_.labels


def test_splits(tmp_path):
    images_in(tmp_path, "images/train/0.jpg", "images/test/1.jpg", "masks/train/0.png", "val/images/2.jpg")
    images_in(tmp_path, "val/masks/2.png")
    set_ = Labelled(tmp_path)
    assert set_.splits == {"train/0": "train", "test/1": "test", "val/2": "val"}
    assert set_.fields["test/1"] == {"jpg": "images/test/1.jpg"}
    assert dict(set_.problems.noted) == {"images in folders without masks": 1}


def test_what_has_no_partner_is_named(tmp_path):
    images_in(tmp_path, "images/0.jpg", "images/1.jpg", "masks/0.png", "masks/2.png")
    set_ = Labelled(tmp_path)
    assert set_.rejected == {"images/1.jpg": "has no mask in 'masks'; add it, or remove the image"}
    assert set_.problems.left_out_names == ["masks/2.png"]
    assert list(set_.fields) == ["0"]


def test_two_candidates_are_a_question(tmp_path):
    images_in(tmp_path, "images/0.jpg", "masks/0.png", "segmentation/0.png")
    with pytest.raises(SourceError, match=r"the masks of 'images' may be those in 'masks' or in 'segmentation'; leave"):
        Labelled(tmp_path)


def test_other_folders_have_no_masks(tmp_path):
    images_in(tmp_path, "images/0.jpg", "masks/5.png", "cat/1.jpg")
    assert Labelled(tmp_path, "classes").found.layout == "classes"
    with pytest.raises(SourceError, match="no masks in"):
        Labelled(tmp_path, "masks")
    images_in(tmp_path / "b", "cat/bank_label.jpg", "dog/0.jpg")
    assert Labelled(tmp_path / "b").found.layout == "classes"


def test_label_files_beside_masks_are_a_question(tmp_path):
    images_in(tmp_path, "images/0.jpg", "masks/0.png")
    write_tree(tmp_path, {"labels/0.txt": "0 0.5 0.5 1 1"})
    assert Labelled(tmp_path).found.layout == "yolo"  # boxes are the more specific


def test_folders_that_have_no_masks_are_a_question(tmp_path):
    images_in(tmp_path, "cat/1.png", "cat/1_seg.png", "dog/2.png", "dog/3.png")
    with pytest.raises(SourceError, match=r"none for the images of other folders \(1: 'dog'\); .*--layout classes"):
        Labelled(tmp_path)
    assert Labelled(tmp_path, "masks").found.layout == "masks"
