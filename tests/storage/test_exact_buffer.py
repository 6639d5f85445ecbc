"""Bytes filled in place."""

from __future__ import annotations

import tracemalloc

import pytest

from shardpack.storage.exact_buffer import ExactBuffer


@pytest.mark.parametrize("length", [0, 1, 15, 4096, 100_003])
def test_what_is_filled_is_taken(length):
    buffer = ExactBuffer(length)
    data = bytes(i % 251 for i in range(length))
    for at in range(0, length, 1000):
        buffer.view[at : at + 1000] = data[at : at + 1000]
    taken = buffer.finish()
    assert type(taken) is bytes
    assert taken == data


def test_nothing_is_copied():
    length = 32 << 20
    tracemalloc.start()
    try:
        buffer = ExactBuffer(length)
        buffer.view[-1] = 7
        taken = buffer.finish()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken[-1] == 7
    assert peak < 1.01 * length


def test_what_was_taken_is_not_written_to():
    buffer = ExactBuffer(10)
    buffer.finish()
    with pytest.raises(ValueError, match="released"):
        buffer.view[0] = 1
