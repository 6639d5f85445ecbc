"""Splits that files of other tools state."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import SourceError
from shardpack.sources.stated_splits import (
    NAMES_OF_TARS,
    StatedSplits,
    find_stated_splits,
    is_wids_list,
    splits_by_name,
)

TARS = ["a-0.tar", "a-1.tar", "b/c.tar"]
YAML = b"split_parts:\n  train:\n  - a-{0..1}.tar\n  - gone.tar\n  val: ['b/c.tar']\n  test: []\nexclude: []\n"


def wids(*tars):
    return json.dumps({"__kind__": "wids-shard-index-v1", "wids_version": 1, "shardlist": [{"url": t} for t in tars]})


def find(files, tars=TARS):
    return find_stated_splits(tars, files.get, list(files))


def test_energon():
    stated = find({".nv-meta/split.yaml": YAML})
    assert stated == StatedSplits(".nv-meta/split.yaml", {"a-0.tar": "train", "a-1.tar": "train", "b/c.tar": "val"})


def test_tars_that_it_does_not_name_are_in_no_split():
    assert find({".nv-meta/split.yaml": b"split_parts: {train: [a-1.tar]}"}).of == {"a-1.tar": "train"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b"split_parts: {train: [a-0.tar], val: [a-0.tar]}", r"'a-0.tar' is of 'train' and of 'val'; correct it"),
        (b"split_parts: {train: [{x: a-0.tar}]}", "has no lists of tars below split_parts"),
        (b"exclude: []", "has no lists of tars"),
        (b"split_parts: &x 1", "line 1"),
        (b"split_parts: {a-1: [a-0.tar]}", r"a split cannot be called 'a-1'"),
        (b"split_parts:\n  train:\n  - 'a-{0..99999999}.tar'\n", "more than 1,000,000 names"),
        (b"split_parts:\n  train:\n" + b"  - 'a-{0..900000}.tar'\n" * 3, "more than 1,000,000 tars in a split"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text, what):
    with pytest.raises(SourceError, match=what) as caught:
        find({".nv-meta/split.yaml": text})
    assert str(caught.value).startswith(".nv-meta/split.yaml")


def test_lists_of_wids_that_hold_some_tars_are_splits():
    files = {
        "shardindex.json": wids(*TARS).encode(),
        "shardindex-train.json": wids("a-0.tar", "a-1.tar").encode(),
        "val.json": wids("https://host/x/c.tar", "b/c.tar").encode(),
        "a-0.json": wids("a-0.tar").encode(),  # the list of files of a tar
    }
    stated = find(files)
    assert stated == StatedSplits("shardindex-train.json", {"a-0.tar": "train", "a-1.tar": "train", "b/c.tar": "val"})


def test_one_list_of_all_tars_states_nothing():
    assert find({"shardindex.json": wids(*TARS).encode()}) == StatedSplits()
    assert find({}) == StatedSplits()


@pytest.mark.parametrize("text", [b"{}", b"[", b'{"wids_version": 1, "shardlist": 3}', b'{"wids_version": "shardlist"'])
def test_other_json_states_nothing(text):
    assert find({"x.json": text}) == StatedSplits()


def test_lists_are_told_by_their_names_inside():
    assert is_wids_list(wids("a.tar").encode())
    assert not is_wids_list(b'{"shardlist": []}')


@pytest.mark.parametrize(
    ("tars", "splits"),
    [
        (["train-000000.tar", "x/val-000000.tar.zst"], ["train", "val"]),
        (["imagenet-train_00.tar", "imagenet-validation_00.tar"], ["train", "validation"]),
        (["train-00000-of-00002.tar", "train-00001-of-00002.tar", "Test.0.tar"], ["train", "train", "Test"]),
        (["train-0.tar", "train-1.tar"], []),  # one split is none
        (["train-0.tar", "val-0.tar", "more-0.tar"], []),
        (["train-0.tar", "Train-1.tar"], []),  # differ in case only
        (["train.tar", "val.tar"], []),  # may be archives of folders
        ([], []),
    ],
)
def test_tars_may_be_named_after_splits(tars, splits):
    stated = splits_by_name(tars)
    assert list(stated.of.values()) == splits
    assert stated.file == (NAMES_OF_TARS if splits else "")
