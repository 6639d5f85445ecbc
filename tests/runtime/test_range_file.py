"""Bytes that are had by ranges read as a file does."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from shardpack.runtime.range_file import RangeFile

STEPS = st.lists(
    st.tuples(st.just("seek"), st.integers(0, 30), st.sampled_from([io.SEEK_SET, io.SEEK_END]))
    | st.tuples(st.just("read"), st.integers(-1, 30)),
    max_size=8,
)


class Bytes(RangeFile):
    def __init__(self, content):
        super().__init__(len(content))
        self.content = content

    def get_range(self, start, length):
        assert length
        return self.content[start : start + length]


@given(st.binary(max_size=20), STEPS)
def test_it_reads_and_seeks_as_a_file_in_memory(content, steps):
    mine, theirs = Bytes(content), io.BytesIO(content)
    for verb, *taken in steps:
        if taken[1:] == [io.SEEK_END]:
            taken[0] = -min(taken[0], len(content))
        assert getattr(mine, verb)(*taken) == getattr(theirs, verb)(*taken)
        assert mine.tell() == theirs.tell()
    assert mine.size() == len(content)


def test_it_fills_buffers():
    file, buffer = Bytes(b"abc"), bytearray(2)
    assert (file.readinto(buffer), bytes(buffer)) == (2, b"ab")
    assert (file.readinto(buffer), bytes(buffer)) == (1, b"cb")
    assert file.readable()
    assert file.seekable()
