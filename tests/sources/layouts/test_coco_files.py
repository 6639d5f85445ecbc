"""Which files describe the same images, and where names in them may lead: below the root, and nowhere else."""

from __future__ import annotations

import pytest

from shardpack.sources.layouts.coco_files import CocoGroup, find_groups, given_group, looks_like_coco
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of


def groups_of(*names):
    return find_groups(Tree(files_of(list(names))))


def test_files_of_one_ending_are_one_group():
    names = [
        "instances_val2017",
        "captions_val2017",
        "person_keypoints_val2017",
        "instances_train2017",
        "stuff_val2017",
    ]
    first, second = groups_of(*[f"annotations/{name}.json" for name in names if "stuff" not in name])
    assert first.files[0] == "annotations/person_keypoints_val2017.json" or second.files[0].startswith("annotations/p")
    assert {(group.suffix, group.split, len(group.files)) for group in (first, second)} == {
        ("val2017", "val", 3),
        ("train2017", "train", 1),
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("annotations/instances_default.json", None),
        ("annotations/instances_test-dev2017.json", "test-dev2017"),
        ("annotations/instances_Train.json", "Train"),
        ("annotations/instances_minival-2014.json", None),  # would read like the number of a shard
        ("a/b/train/_annotations.coco.json", "train"),
        ("a/_annotations.coco.json", None),
    ],
)
def test_splits(name, split):
    (group,) = groups_of(name)
    assert group.split == split


def test_where_names_lead():
    group = CocoGroup(("coco/annotations/instances_train2017.json",), "coco/annotations", "coco", "train2017", "train")
    paths = group.paths_of("0.jpg")
    assert paths[:2] == ["coco/train2017/0.jpg", "coco/images/train2017/0.jpg"]
    assert {"coco/train/0.jpg", "coco/0.jpg", "coco/annotations/0.jpg", "0.jpg"} <= set(paths)
    assert group.masks_of("0.png") == [
        "coco/annotations/panoptic_train2017/0.png",
        "coco/panoptic_train2017/0.png",
    ]
    assert given_group(Tree(files_of(["a.json"])), "x/a.json", "a.json") == CocoGroup(("a.json",), "")


@pytest.mark.parametrize(
    ("image", "base"),
    [("train2017/0.jpg", ""), ("annotations_trainval2017/train2017/0.jpg", "annotations_trainval2017")],
)
def test_images_are_beside_annotations_that_have_a_folder_of_their_own(image, base):
    (group,) = groups_of("annotations_trainval2017/annotations/instances_train2017.json", image)
    assert group.base == base
    assert image in group.paths_of("0.jpg")


def test_masks_below_annotations_are_no_images_of_the_set():
    masks = [f"panoptic_trainval2017/annotations/panoptic_train2017/{number}.png" for number in range(3)]
    (group,) = groups_of("panoptic_trainval2017/annotations/panoptic_train2017.json", *masks, "train2017/0.jpg")
    assert group.base == ""
    assert "train2017/0.jpg" in group.paths_of("0.jpg")
    assert masks[0] in group.masks_of("0.png")


def test_looks():
    assert looks_like_coco(b'{"annotations" : [], "images":[')
    assert not looks_like_coco(b'{"images": [], "annotations": {}}')
