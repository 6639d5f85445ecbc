"""Splits of a listing: set, counted, ordered, and one of them alone."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.splits import counted_splits, only_split, sorted_by_split, split_ends, split_of, with_splits
from tests.fakes import inline_listing

SPLITS = ["test", "train", None, "extra", "train", "val"]
LISTING = inline_listing({key: {"txt": key.encode()} for key in "abcdef"})


def test_set_counted_and_ordered():
    listing = with_splits(LISTING, SPLITS)
    assert listing.split_names == ("train", "val", "test", "extra")
    assert [split_of(listing, sample) for sample in range(6)] == SPLITS
    assert counted_splits(listing) == {"train": 2, "val": 1, "test": 1, "extra": 1}
    ordered = sorted_by_split(listing)
    assert ordered.keys == ["b", "e", "f", "a", "d", "c"]
    assert ordered.payload == [key.encode() for key in ordered.keys]
    assert sorted_by_split(ordered) is ordered


def test_ends_of_runs():
    assert split_ends(with_splits(LISTING, SPLITS)) == [1, 2, 3, 4, 5, 6]
    assert split_ends(sorted_by_split(with_splits(LISTING, SPLITS))) == [2, 3, 4, 5, 6]
    assert split_ends(LISTING) == [6]
    assert split_ends(inline_listing({})) == [0]


def test_without_splits():
    assert with_splits(LISTING, [None] * 6).split is None
    assert counted_splits(LISTING) == {}
    assert sorted_by_split(LISTING) is LISTING
    assert split_of(LISTING, 0) is None


def test_names_that_no_shard_can_have_are_refused():
    with pytest.raises(SourceError, match=r"'train-2017'.*rename it$"):
        with_splits(LISTING, ["train-2017"] * 6)


def test_one_split_alone_has_no_splits():
    chosen = only_split(with_splits(LISTING, SPLITS), "train")
    assert (chosen.keys, chosen.split_names, chosen.split) == (["b", "e"], (), None)


def test_a_split_that_is_not_there_is_an_error_that_names_those_that_are():
    with pytest.raises(OptionError, match="no split 'valid'; choose one of 'train', 'val', 'test', 'extra'"):
        only_split(with_splits(LISTING, SPLITS), "valid")
    with pytest.raises(OptionError, match="has no splits"):
        only_split(LISTING, "train")
