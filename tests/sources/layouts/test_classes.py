"""Folders become classes, numbered by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.layouts.class_folders import FolderClasses
from shardpack.sources.layouts.classes import ClassFolders, add_class_labels
from shardpack.sources.layouts.layout import LayoutOptions
from shardpack.sources.source import Problems
from shardpack.sources.splits import counted_splits
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, listing_of, samples_of

CLASSES = ClassFolders()


def by_first_folder(listing, problems=None):
    """Add the labels of the first folders."""
    folders = {key.rpartition("/")[0] for key in listing.keys}
    classes = FolderClasses({path: path.partition("/")[0] for path in folders if path}, frozenset({""}))
    return add_class_labels(listing, classes, Problems() if problems is None else problems)


def listed(names, *, asked=False):
    """Return (class by key, splits, rejected names) of a tree, or None if it has other folders."""
    tree, options, problems = Tree(files_of(names)), LayoutOptions(asked=asked), Problems()
    found = CLASSES.find(tree, options)
    if found is None:
        return None
    listing = CLASSES.list(tree, found, problems, options)
    labels = {
        key: json.loads(fields["json"])["class"] if "json" in fields else None
        for key, fields in samples_of(listing).items()
    }
    return labels, counted_splits(listing), [name for name, _ in problems.rejected]


folders = st.text("abZé\udce9 %", min_size=1, max_size=2)
keys = st.lists(st.tuples(folders, st.sampled_from(["1", "2", "deep/3"])).map("/".join), max_size=8, unique=True)


@given(keys)
def test_labels_are_json_and_number_the_sorted_names(keys):
    try:
        listing = by_first_folder(listing_of(keys))
    except SourceError:
        # Only where one folder is called what another, which is not UTF-8, is escaped to.
        assert any("\udce9" in key for key in keys)
        return
    assert list(listing.keys) == sorted(keys)
    assert list(listing.classes) == sorted(set(listing.classes))
    assert len(listing.classes) == len({key.partition("/")[0] for key in keys})
    assert listing.by_class is (len(listing.classes) > 1)
    for key, fields in samples_of(listing).items():
        label = json.loads(fields["json"].decode())
        assert listing.classes[label["label"]] == label["class"]
        folder = key.partition("/")[0]
        assert label["class"] == folder or "\udce9" in folder


def test_label_bytes():
    listing = by_first_folder(listing_of(["dog/deep/1", "cat/1", "café/1"]))
    labels = {key: fields["json"] for key, fields in samples_of(listing).items()}
    assert labels == {
        "café/1": '{"label":0,"class":"café"}'.encode(),
        "cat/1": b'{"label":1,"class":"cat"}',
        "dog/deep/1": b'{"label":2,"class":"dog"}',
    }
    assert listing.classes == ("café", "cat", "dog")


def test_a_folder_that_is_not_utf8_gives_its_class_the_escaped_name():
    listing = by_first_folder(listing_of(["caf\udce9/1"]))
    assert samples_of(listing)["caf\udce9/1"]["json"] == b'{"label":0,"class":"caf%E9"}'
    with pytest.raises(SourceError, match="two class folders would both be called 'caf%E9'; rename one"):
        by_first_folder(listing_of(["caf\udce9/1", "caf%E9/1"]))


def test_images_in_no_folder_or_with_a_label_are_rejected():
    problems = Problems()
    listing = by_first_folder(listing_of({"1": ["jpg"], "a/1": ["jpg", "json"], "a/2": ["jpg", "txt"]}), problems)
    assert list(listing.keys) == ["a/2"]
    assert [name for name, _ in problems.rejected] == ["1.jpg", "a/1.jpg"]
    assert problems.rejected[0][1].startswith("is not in a class folder")
    assert problems.rejected[1][1].startswith("has a label of its own")


def test_classes_and_splits():
    assert listed(["train/cat/1.jpg", "train/dog/2.jpg", "val/cat/3.jpg", "test/4.jpg"]) == (
        {"test/4": None, "train/cat/1": "cat", "train/dog/2": "dog", "val/cat/3": "cat"},
        {"train": 2, "val": 1, "test": 1},
        [],
    )


def test_a_class_that_training_lacks_is_noted():
    names = ["train/cat/1.jpg", "val/cat/2.jpg", "val/bird/3.jpg", "val/bird/4.jpg", "test/5.jpg"]
    tree, options, problems = Tree(files_of(names)), LayoutOptions(), Problems()
    listing = CLASSES.list(tree, CLASSES.find(tree, options), problems, options)
    assert listing.classes == ("bird", "cat")
    assert problems.noted == {"of a class that no image for training has, such as 'bird'": 2}


def test_an_image_beside_the_classes_of_its_split_is_rejected():
    labels, _, rejected = listed(["train/cat/1.jpg", "train/dog/2.jpg", "train/3.jpg", "val/cat/4.jpg"])
    assert labels == {"train/cat/1": "cat", "train/dog/2": "dog", "val/cat/4": "cat"}
    assert rejected == ["train/3.jpg"]


def test_if_asked_any_folder_is_a_class():
    assert listed(["images/1.jpg"]) is None
    assert listed(["images/1.jpg"], asked=True) == ({"images/1": "images"}, {}, [])
    assert listed(["1.jpg"], asked=True) == ({}, {}, ["1.jpg"])
    assert listed(["a/1.jpg", "b/1.jpg", "2.jpg"], asked=True) == ({"a/1": "a", "b/1": "b"}, {}, ["2.jpg"])


def test_if_asked_an_image_beside_splits_is_rejected_and_the_others_keep_their_splits():
    names = ["train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "cover.png"]
    assert listed(names, asked=True) == (
        {"train/cat/1": "cat", "train/dog/2": "dog", "val/cat/3": "cat"},
        {"train": 2, "val": 1},
        ["cover.png"],
    )


def test_names_that_only_unicode_writes_differently_are_refused():
    listing = listing_of(["train/cafe\u0301/1.jpg", "val/caf\u00e9/2.jpg"])
    classes = FolderClasses({key.rpartition("/")[0]: key.split("/")[1] for key in listing.keys})
    with pytest.raises(
        SourceError, match="differ in how Unicode writes it, composed or decomposed; give both one name"
    ):
        add_class_labels(listing, classes, Problems())
