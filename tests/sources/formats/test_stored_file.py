"""A stored object reads as a file does."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.formats.stored_file import StoredFile
from shardpack.storage.memory import MemoryStore

STEPS = st.lists(
    st.tuples(st.just("seek"), st.integers(0, 30), st.sampled_from([io.SEEK_SET, io.SEEK_END]))
    | st.tuples(st.just("read"), st.integers(-1, 30)),
    max_size=8,
)


@given(st.binary(max_size=20), STEPS)
def test_it_reads_and_seeks_as_a_file_in_memory(content, steps):
    mine, theirs = StoredFile(MemoryStore({"a": content}), "a"), io.BytesIO(content)
    for verb, *taken in steps:
        if taken[1:] == [io.SEEK_END]:
            taken[0] = -min(taken[0], len(content))
        assert getattr(mine, verb)(*taken) == getattr(theirs, verb)(*taken)
        assert mine.tell() == theirs.tell()
    assert mine.size() == len(content)


def test_it_fills_buffers():
    file, buffer = StoredFile(MemoryStore({"a": b"abc"}), "a"), bytearray(2)
    assert (file.readinto(buffer), bytes(buffer)) == (2, b"ab")
    assert (file.readinto(buffer), bytes(buffer)) == (1, b"cb")
    assert file.readable()
    assert file.seekable()
