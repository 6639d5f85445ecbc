"""Splits are found at any one depth where all folders are named like splits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.layouts.split_folders import SPLIT_NAMES, mixed_splits, split_by_folder, split_level
from shardpack.sources.splits import split_of
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, listing_of

parts = st.lists(st.sampled_from(["train", "Val", "test", "a", "b"]), max_size=3)


@pytest.mark.parametrize(
    ("folders", "level"),
    [
        (["train", "val/cat"], 0),
        (["images/train", "images/val"], 1),
        (["cat/train", "dog/test/x"], 1),
        (["TRAIN/a", "Valid/b", "dev/c", "testing"], 0),
        (["train/test"], 0),
        (["train", "cat"], None),
        (["train", ""], None),
        ([], None),
    ],
)
def test_level(folders, level):
    assert split_level([folder.split("/") if folder else [] for folder in folders]) == level


@given(st.lists(parts, max_size=5))
def test_a_level_is_one_of_splits_alone_and_mixed_ones_are_told(folders):
    level = split_level(folders)
    if level is not None:
        assert all(folder[level].lower() in SPLIT_NAMES for folder in folders)
        assert all(any(folder[before].lower() not in SPLIT_NAMES for folder in folders) for before in range(level))
    mixed = mixed_splits(folders)
    if mixed is not None:
        splits, others = mixed
        assert len({SPLIT_NAMES[name.lower()] for name in splits}) > 1
        assert others


@pytest.mark.parametrize(
    ("folders", "mixed"),
    [
        (["train", "test", "extra"], (["test", "train"], ["extra"])),
        (["x/train", "x/val", "x/cat"], (["train", "val"], ["cat"])),
        (["train", "bus", "car"], None),  # a train is a vehicle, too
        (["train", "training", "car"], None),
        (["train", "test"], None),
    ],
)
def test_mixed(folders, mixed):
    assert mixed_splits([folder.split("/") for folder in folders]) == mixed


def test_each_sample_gets_the_split_of_its_folder():
    names = ["images/val/2.jpg", "images/train/1.jpg", "images/train/deep/3.jpg"]
    listing = listing_of([name.removesuffix(".jpg") for name in names])
    found = split_by_folder(listing, Tree(files_of(names)))
    assert [split_of(found, sample) for sample in range(3)] == ["train", "train", "val"]
    assert split_by_folder(listing, Tree(files_of([*names, "0.jpg"]))) is listing
