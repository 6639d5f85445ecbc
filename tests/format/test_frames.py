"""Frames of compressed shards, and the seek table of the seekable format."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.frames import Frames, StoredRange, frames_of, parse_seek_table, seek_table, seek_table_bytes

LENGTHS = st.lists(st.tuples(st.integers(1, 2**32 - 1), st.integers(1, 2**30)), min_size=1, max_size=20)


def frames(*lengths: tuple[int, int]) -> Frames:
    return frames_of(np.array(lengths, np.int64))


@given(LENGTHS)
def test_a_seek_table_tells_the_frames(lengths):
    table = seek_table(frames(*lengths))
    assert len(table) == 8 + 8 * len(lengths) + 9 == seek_table_bytes(table[-9:])
    assert parse_seek_table(table).tolist() == [list(pair) for pair in lengths]
    assert frames_of(parse_seek_table(table)).same_as(frames(*lengths))


def test_a_seek_table_byte_for_byte():
    assert seek_table(frames((5, 512), (7, 1024))).hex(" ", -4) == (
        "5e2a4d18 19000000 05000000 00020000 07000000 00040000 02000000 00b1ea92 8f"
    )


def test_checksums_of_others_are_passed_over():
    entries = np.array([[5, 512, 99], [7, 1024, 98]], "<u4").tobytes()
    table = b"\x5e\x2a\x4d\x18" + (len(entries) + 9).to_bytes(4, "little") + entries
    table += b"\x02\0\0\0\x80\xb1\xea\x92\x8f"
    assert parse_seek_table(table).tolist() == [[5, 512], [7, 1024]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda table: table[1:],
        lambda table: b"x" + table[1:],
        lambda table: table[:-1] + b"x",
        lambda table: table[:-5] + b"\x01" + table[-4:],
        lambda table: table[:-9] + b"\xff" * 4 + table[-5:],
        lambda table: table[:4] + b"\0" + table[5:],
        lambda _: b"",
    ],
)
def test_what_is_no_seek_table(damage):
    assert parse_seek_table(damage(seek_table(frames((5, 512), (7, 1024))))) is None


def test_frames_without_content_belong_to_the_one_before():
    found = frames_of(np.array([[12, 0], [5, 512], [9, 0], [7, 1024], [17, 0]], np.int64), begin=3)
    assert (found.stored.tolist(), found.plain.tolist()) == ([15, 29, 53], [0, 512, 1536])


def test_where_a_range_is_stored():
    found = frames((5, 512), (7, 1024), (9, 512))
    assert found.stored_range(512, 1024) == StoredRange(5, 7, 0)
    assert found.stored_range(511, 2) == StoredRange(0, 12, 511)
    assert found.stored_range(1536, 0) == StoredRange(12, 9, 0)
    assert (found.plain_bytes, len(found)) == (2048, 3)
    assert not found.same_as(frames((5, 512)))
    assert not found.same_as(None)


def test_an_empty_payload_at_the_end_of_the_tar_is_in_the_last_frame():
    assert frames((5, 512), (7, 1024)).stored_range(1536, 0) == StoredRange(5, 7, 1024)
