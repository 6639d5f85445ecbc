"""Writing in a thread: in order, one buffer behind, and no error lost."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.runtime.write_behind import WriteBehind


@given(st.lists(st.binary(min_size=1, max_size=5), max_size=20))
def test_everything_is_written_in_order(parts):
    written = []
    with WriteBehind(lambda buffer: written.append(bytes(buffer))) as behind:
        for part in parts:
            behind.write(memoryview(part))
    assert written == parts


def test_two_buffers_are_enough():
    """A buffer may be filled again once the next one was taken: what is written does not change under it."""
    buffers, written = [bytearray(1), bytearray(1)], []

    def slowly(buffer):
        before = bytes(buffer)
        time.sleep(0.002)
        assert bytes(buffer) == before
        written.append(before)

    with WriteBehind(slowly) as behind:
        for i in range(20):
            buffers[i % 2][0] = i
            behind.write(memoryview(buffers[i % 2]))
    assert written == [bytes([i]) for i in range(20)]


@pytest.mark.parametrize("number", [1, 2, 5])
def test_an_error_reaches_the_producer_and_nothing_more_is_written(number):
    tried = []

    def refuse(buffer):
        tried.append(bytes(buffer))
        if len(tried) == number:
            raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            for i in range(5):
                behind.write(memoryview(b"%d" % i))

    with pytest.raises(OSError, match="No space left"):
        produce()
    assert len(tried) == number


def test_an_error_is_not_lost_if_the_producer_tries_again():
    def refuse(_):
        raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            behind.write(memoryview(b"a"))
            for _ in range(3):
                with pytest.raises(OSError, match="No space left"):
                    behind.write(memoryview(b"b"))

    with pytest.raises(OSError, match="No space left"):
        produce()


def test_the_producers_own_error_wins():
    def refuse(_):
        raise OSError(28, "No space left on device")

    def produce():
        with WriteBehind(refuse) as behind:
            behind.write(memoryview(b"a"))
            raise LookupError("of the producer")

    with pytest.raises(LookupError, match="of the producer"):
        produce()


def test_leaving_waits_and_leaves_no_thread():
    before, done = threading.active_count(), []

    def slowly(_):
        time.sleep(0.05)
        done.append(True)

    with WriteBehind(slowly) as behind:
        behind.write(memoryview(b"a"))
    assert done
    assert threading.active_count() == before
