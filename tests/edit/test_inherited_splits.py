"""New samples are in their own splits, or in those of the samples that they replace."""

from __future__ import annotations

import numpy as np

from shardpack.edit.inherited_splits import count_drawn, extended_splits, inherited_splits
from shardpack.format.manifest import AppendedSplits
from shardpack.format.splits import NO_SPLIT, Splits

OLD = Splits.of_numbers(["train", "val"], np.array([0, 0, 1, -1, -1]))


def names(splits, count):
    return [None if number == NO_SPLIT else splits.names[number] for number in splits.numbers(np.arange(count))]


def test_without_splits_of_their_own_they_are_in_those_of_what_they_replace():
    replaced = np.array([2, -1, 0, 3])
    assert names(inherited_splits(OLD, None, replaced), 4) == ["val", None, "train", None]
    assert inherited_splits(OLD, None, np.array([3, -1])) is None


def test_their_own_splits_come_first():
    new = Splits.of_numbers(["test", "train"], np.array([0, -1, 1]))
    assert names(inherited_splits(OLD, new, np.array([2, 2, 2])), 3) == ["test", "val", "train"]


def test_splits_follow_those_of_the_dataset():
    new = Splits.of_numbers(["val", "test"], np.array([0, 1]))
    assert names(extended_splits(OLD, new, first=5), 7) == ["train", "train", "val", None, None, "val", "test"]
    assert names(extended_splits(None, new, first=1), 3) == [None, "val", "test"]


def test_those_are_counted_that_fall_into_a_split_where_the_replaced_ones_were_in_none():
    hashes = np.array([1, 1, 1, 1 << 63], np.uint64)
    replaced = np.array([3, 2, 4, 3])  # in none, in one, appended itself, in none
    assert count_drawn(OLD, None, replaced, hashes) == 0
    old = Splits(OLD.names, OLD.begin, OLD.end, OLD.number, AppendedSplits(4, {"train": (0, 1 << 31)}))
    assert count_drawn(old, None, replaced, hashes) == 1
    own = Splits.of_numbers(["val"], np.array([0, -1, -1, -1]))
    assert count_drawn(old, own, replaced, hashes) == 0
