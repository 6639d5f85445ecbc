"""Which files become one, and that the rows of all are in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptIndexError
from shardpack.format.join_files import MAX_FILES, joined_deleted, joined_keys, num_joined
from shardpack.format.key_index import KeySegmentReader, hash_keys


@pytest.mark.parametrize(
    ("rows", "joined"),
    [
        ([1], 0),
        ([1] * 8, 0),
        ([1] * 9, 9),
        ([1000, *[10] * 8], 8),
        ([1000, 80, *[10] * 7], 7),
        ([1000, 80, 70, 60, 50, 40, 30, 20, 5], 2),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1], 9),
        ([1, 2, 4, 8, 16, 32, 64, 128, 256], 9),
    ],
)
def test_which_files_become_one(rows, joined):
    assert num_joined(rows) == joined


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=60))
def test_there_are_never_many_files_and_rows_are_seldom_written_again(edits):
    files, written = [], 0
    for rows in edits:
        files.append(rows)
        if joined := num_joined(files):
            assert joined >= 2
            files[-joined:] = [sum(files[-joined:])]
        written += files[-1]
        assert len(files) <= MAX_FILES
    assert sum(files) == sum(edits)


def test_equal_edits_write_each_row_a_few_times():
    files, written = [100_000], 0
    for _ in range(1000):
        files.append(10)
        if joined := num_joined(files):
            files[-joined:] = [sum(files[-joined:])]
        written += files[-1]
    assert written < 12 * 10_000


def test_joined_keys_are_found():
    stored, segments, keys = {}, (), []
    for edit in range(12):
        new = [f"{edit}/{i}" for i in range(5)]
        keys += new
        segments, parts = joined_keys(
            segments, hash_keys(new), generation=edit + 1, read=lambda file: stored[file.name]
        )
        stored[segments[-1].name] = b"".join(parts)
    assert len(segments) < 9
    first = 0
    for segment in segments:
        data = stored[segment.name]
        reader = KeySegmentReader(lambda begin, length, data=data: data[begin : begin + length], segment, path="x")
        reader.check()
        assert reader.hashes().tolist() == hash_keys(keys[first : first + segment.num_keys]).tolist()
        first += segment.num_keys
    assert first == len(keys)


def test_without_a_way_to_read_nothing_is_joined():
    files = ()
    for position in range(12):
        files, _ = joined_deleted(files, np.array([position]), generation=2, num_samples=12, read=None)
    assert len(files) == 12


def test_damaged_files_are_not_joined():
    files = ()
    for position in range(8):
        files, _ = joined_deleted(files, np.array([position]), generation=2, num_samples=12, read=None)
    for read in (lambda _: b"", lambda file: bytes(file.num_bytes)):
        with pytest.raises(CorruptIndexError, match="file is damaged"):
            joined_deleted(files, np.array([9]), generation=2, num_samples=12, read=read)
