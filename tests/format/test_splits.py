"""The file of named splits: what runs of samples become, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError, FormatError
from shardpack.format import container
from shardpack.format.manifest import AppendedSplits, SplitsFile
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import NO_SPLIT, Splits, encode_splits, fallen_counts, parse_splits, splits_of_shards
from tests.format.builders import small_splits, small_splits_file

runs = st.lists(st.tuples(st.sampled_from(["train", "val", "x", None]), st.integers(0, 5)), max_size=12)


def parse(data, file=None, *, num_samples=21):
    return parse_splits(data, file or small_splits_file(data), num_samples=num_samples, path="x.index")


@given(runs)
def test_runs_come_back_as_ranges(found):
    names = [name for name, count in found for _ in range(count)]
    splits = Splits.of_runs(found)
    if not any(names):
        assert splits is None
        return
    data = b"".join(encode_splits(splits))
    file = SplitsFile("x", len(data), 0, splits.counts())
    read = parse(data, file, num_samples=len(names))
    numbers = read.numbers(np.arange(len(names))).tolist()
    assert [None if number == NO_SPLIT else read.names[number] for number in numbers] == names
    assert read.counts() == {name: names.count(name) for name in read.names}
    for name in read.names:
        begin, end = read.ranges(name)
        positions = [position for a, b in zip(begin, end, strict=True) for position in range(a, b)]
        assert positions == [position for position, one in enumerate(names) if one == name]


@given(st.lists(st.integers(-1, 2), max_size=30))
def test_numbers_come_back_as_ranges(numbers):
    splits = Splits.of_numbers(["x", "train", "unused", "val"], np.array(numbers, np.int64))
    names = [("x", "train", "unused")[number] if number >= 0 else None for number in numbers]
    assert splits.names == tuple(name for name in ("train", "unused", "x") if name in names)
    if splits.names:
        runs = Splits.of_runs([(name, 1) for name in names])
        for column in ("names", "begin", "end", "number"):
            assert list(getattr(splits, column)) == list(getattr(runs, column))


def test_splits_that_may_grow_are_there_without_samples():
    appended = AppendedSplits(2, {"val": (0, 1), "test": (1, 2)})
    splits = Splits.of_numbers(["test", "val"], np.array([1, -1]), appended=appended)
    assert (splits.counts(), splits.appended) == ({"val": 1, "test": 0}, appended)


def test_neighbouring_ranges_of_a_split_are_one():
    splits = Splits.of_runs([("a", 2), ("a", 3), (None, 1), ("a", 1), ("b", 0), ("a", 1)])
    assert (splits.begin.tolist(), splits.end.tolist()) == ([0, 6], [5, 8])


def test_names_of_packed_shards_tell():
    def shard(name, count):
        return ShardInfo(name, count, 4096, 1, 512, 1, {"jpg": count})

    shards = [shard("val-000000.tar", 4), shard("train-000000-00.tar.zst", 2), shard("shard-000000.tar", 3)]
    assert splits_of_shards(shards).counts() == {"train": 2, "val": 4}
    assert splits_of_shards([shard("shard-000000.tar", 3), shard("photos.tar", 1)]) is None


HALVES = AppendedSplits(21, {"val": (0, 1 << 31), "train": (1 << 31, 1 << 32)}, {"val": 2})


def test_appended_samples_fall_by_the_upper_half_of_their_hash():
    splits = replace(Splits.of_runs([("train", 18), ("val", 3)]), appended=HALVES)
    hashes = np.array([0, (1 << 63) - 1, 1 << 63, (1 << 64) - 1], np.uint64)
    assert splits.numbers_of_hashes(hashes).tolist() == [1, 1, 0, 0]
    assert fallen_counts(HALVES, hashes) == {"val": 2, "train": 2}
    assert fallen_counts(replace(HALVES, ranges={"val": (5, 6)}), hashes) == {}
    assert replace(splits, appended=None).numbers_of_hashes(hashes).tolist() == [NO_SPLIT] * 4


def test_the_manifest_says_how_they_fall():
    data = small_splits()
    read = parse(data, replace(small_splits_file(data), appended=HALVES), num_samples=30)
    assert read.appended == HALVES
    assert read.counts() == {"train": 18, "val": 3}
    assert small_splits_file(data).totals == {"train": 18, "val": 3}


@given(runs, runs)
def test_splits_of_appended_samples_go_on_behind(first, second):
    old, new = Splits.of_runs(first), Splits.of_runs(second)
    count = sum(n for _, n in first)
    if old is None or new is None:
        return
    both, whole = old.extended(count, new), Splits.of_runs([*first, *second])
    assert both.names == whole.names
    for column in ("begin", "end", "number"):
        assert getattr(both, column).tolist() == getattr(whole, column).tolist()
    assert both.are_in_none(0, count).tolist() == [name is None for name, n in first for _ in range(n)]


def changed(**columns):
    good, metadata = container.parse(small_splits(), name="good")
    return b"".join(container.encode({**good, **columns}, metadata))


def ranges(*bounds):
    return changed(range=np.array(bounds, "<u8"), split=np.arange(len(bounds)).astype("<u2") % 2)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (changed(range=np.array([0, 12, 12], "<u8")), "shape"),
        (changed(split=np.array([0], "<u2")), "shape"),
        (changed(split=np.array([0, 1, 2], "<u2")), "range of split 2, there are 2"),
        (ranges([0, 0], [0, 12], [15, 21]), "empty, overlap"),
        (ranges([0, 12], [11, 15], [15, 21]), "empty, overlap"),
        (ranges([5, 2]), "empty, overlap"),
        (ranges([0, 12], [12, 15], [15, 22]), "leave the 21 samples"),
        (ranges([0, 12], [12, 15], [15, 2**64 - 1]), "leave the 21 samples"),
        (ranges([0, 12], [12, 15]), "other numbers of samples"),
        (changed(split=np.array([0, 1, 1], "<u2")), "empty, overlap"),
    ],
)
def test_refused(data, reason):
    with pytest.raises(CorruptIndexError, match=reason):
        parse(data, small_splits_file(small_splits()))


def test_names_that_the_manifest_does_not_have_are_refused():
    for samples in ({"train": 18, "test": 3}, {"val": 3, "train": 18}, {"train": 18}, {"train": 18, "val": 3, "x": 1}):
        with pytest.raises(CorruptIndexError, match="other splits than the manifest"):
            parse(small_splits(), SplitsFile("x", 1, 1, samples))
    assert parse(small_splits()).counts() == {"train": 18, "val": 3}


def test_no_range_reads_as_other_counts():
    data = changed(range=np.zeros((0, 2), "<u8"), split=np.zeros(0, "<u2"))
    with pytest.raises(CorruptIndexError, match="other numbers of samples"):
        parse(data, small_splits_file(small_splits()))


@given(st.data())
def test_damage_is_refused_or_changes_nothing_that_counts(data):
    good = bytearray(small_splits())
    at, bit = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 7))
    good[at] ^= 1 << bit
    try:
        splits = parse(bytes(good), small_splits_file(small_splits()))
    except FormatError:
        return
    assert splits.counts() == {"train": 18, "val": 3}
    assert all(begin < end <= 21 for begin, end in zip(splits.begin, splits.end, strict=True))


def test_cut_short_anywhere():
    good = small_splits()
    for length in range(len(good)):
        with pytest.raises(CorruptIndexError):
            parse(good[:length], small_splits_file(good))
