"""Folders are classes only where their names say so; where they may be, it is a question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.layouts.class_folders import folder_classes
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of

CLASSES = {
    "class folders": (["cat/1.jpg", "dog/deep/2.jpg"], {"cat": "cat", "dog/deep": "dog"}),
    "one class": (["cat/1.jpg", "cat/deep/2.jpg"], {"cat": "cat", "cat/deep": "cat"}),
    "a folder around all": (["photos/cat/1.jpg", "photos/dog/2.jpg"], {"photos/cat": "cat", "photos/dog": "dog"}),
    "splits": (["train/cat/1.jpg", "val/cat/2.jpg"], {"train/cat": "cat", "val/cat": "cat"}),
    "a class that a split lacks": (
        ["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg"],
        {"train/cat": "cat", "train/dog": "dog", "val/cat": "cat"},
    ),
    "a flat split": (["train/cat/1.jpg", "test/2.jpg"], {"train/cat": "cat", "test": None}),
    "a split that says nothing": (
        ["train/cat/1.jpg", "train/dog/1.jpg", "test/images/2.jpg"],
        {"train/cat": "cat", "train/dog": "dog", "test/images": None},
    ),
    "splits below classes": (["cat/train/1.jpg", "dog/train/2.jpg"], {"cat/train": "cat", "dog/train": "dog"}),
    "folders in folders": (["x/train/cat/1.jpg", "x/test/dog/1.jpg"], {"x/train/cat": "cat", "x/test/dog": "dog"}),
    "images in classes": (
        ["train/cat/images/1.jpg", "train/dog/images/2.jpg"],
        {"train/cat/images": "cat", "train/dog/images": "dog"},
    ),
    "a train is a vehicle": (["train/1.jpg", "bus/1.jpg"], {"train": "train", "bus": "bus"}),
    "names begin with their class": (["ab/ab_01.jpg", "cd/cd_01.jpg"], {"ab": "ab", "cd": "cd"}),
    "digits": (["0/000017.jpg", "1/000018.jpg"], {"0": "0", "1": "1"}),
}
NONE = {
    "the root": ["1.jpg"],
    "a folder that says nothing": ["images/1.jpg"],
    "in any case": ["JPEGImages/1.jpg"],
    "in another": ["data/img/1.jpg"],
    "with folders in it": ["photos/1.jpg", "photos/x/2.jpg"],
    "in splits": ["train/images/1.jpg", "val/images/2.jpg"],
    "flat splits": ["train/1.jpg", "val/2.jpg"],
    "one split": ["test/1.jpg"],
    "one folder beside images": ["cat/1.jpg", "2.jpg"],
    "hashes": ["3f/3fa0c1d2.jpg", "a0/a0b742ff.png"],
    "hashes two deep": ["3f/a0/3fa0c1d2.jpg", "3f/b7/3fb742ff.png", "a1/00/a100ffff.jpg"],
    "uuids": ["3/3fa0c1d2-0a7b.jpg", "a/a0b742ff-97aa.jpg"],
    "numbers": ["000/000123.jpg", "001/001123.jpg"],
    "no images": ["cat/1.txt", "dog/2.txt"],
    "nothing": [],
}
QUESTIONS = {
    "splits and others": (["train/1.jpg", "test/1.jpg", "extra/1.jpg"], "--ignore 'extra/'"),
    "images beside folders": (["cat/1.jpg", "dog/1.jpg", "3.jpg"], "--layout classes --on-error skip"),
    "an image beside folders around classes": (
        ["animals/cat/1.png", "animals/dog/2.png", "animals/cover.png"],
        "--ignore animals/cover.png",
    ),
    "an image in the root": (["data/cat/1.png", "data/dog/2.png", "cover.png"], "--ignore cover.png"),
    "an image beside splits": (["train/cat/1.png", "val/dog/2.png", "cover.png"], "--ignore cover.png"),
    "many images beside folders": (
        ["x/a/1.png", "x/b/2.png", *(f"x/{i}.png" for i in range(5))],
        "images (5: 'x/0.png', 'x/1.png', 'x/2.png' and 2 more)",
    ),
    "folders for a role": (["images/1.jpg", "masks/1.png"], "--layout files"),
    "images and labels of Cityscapes": (["leftImg8bit/train/x/1.png", "gtFine/train/x/1.png"], "--layout files"),
    "roles in splits": (["train/images/1.jpg", "train/masks/1.png"], "--layout files"),
}


@pytest.mark.parametrize(("names", "classes"), CLASSES.values(), ids=CLASSES)
def test_classes(names, classes):
    found = folder_classes(Tree(files_of(names)))
    assert found.class_of == classes
    assert not found.misplaced
    assert not found.question


@pytest.mark.parametrize("names", NONE.values(), ids=NONE)
def test_no_classes(names):
    assert folder_classes(Tree(files_of(names))) is None


@pytest.mark.parametrize(("names", "answer"), QUESTIONS.values(), ids=QUESTIONS)
def test_questions(names, answer):
    found = folder_classes(Tree(files_of(names)))
    assert answer in found.question
    assert not found.class_of
    assert not folder_classes(Tree(files_of(names)), asked=True).question


def test_images_beside_the_classes_of_their_split_are_misplaced():
    found = folder_classes(Tree(files_of(["train/cat/1.jpg", "train/dog/2.jpg", "train/3.jpg"])))
    assert found is None or found.misplaced == {"train"}


folders = st.lists(st.sampled_from(["train", "val", "cat", "dog", "images", "3f", "a0"]), max_size=3).map("/".join)
trees = st.lists(folders.map(lambda folder: f"{folder}/1.jpg".lstrip("/")), max_size=6, unique=True)


@given(trees, st.booleans())
def test_each_folder_has_a_class_or_none_or_is_misplaced(names, asked):
    tree = Tree(files_of(names))
    found = folder_classes(tree, asked=asked)
    if found is None or found.question:
        assert not (asked and found is not None)
        return
    assert set(found.class_of) | found.misplaced == set(tree.folders)
    for folder, name in found.class_of.items():
        assert name is None or name in folder.split("/")
