"""Memory for blocks that is used again."""

from __future__ import annotations

import gc
import mmap
import os
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardpack.storage.buffer_pool import BufferPool, ExactBuffer, PooledBuffer, view_of

MIB = 1 << 20


def test_slices_are_bytes_of_what_was_received():
    pooled = BufferPool().get(MIB + 5)
    pooled.view[:] = bytes(range(251)) * (MIB // 251) + bytes(MIB + 5 - MIB // 251 * 251)
    assert len(pooled) == len(pooled.view) == MIB + 5
    assert type(pooled[3:300]) is bytes
    assert pooled[3:300] == bytes(pooled.view[3:300])
    assert view_of(pooled) is pooled.view
    assert view_of(b"abc") == b"abc"


@pytest.mark.parametrize("length", [0, 1000, 17 * MIB])
def test_short_and_very_long_ranges_are_not_pooled(length):
    assert BufferPool().get(length) is None


def test_memory_is_used_again_once_released():
    pool = BufferPool()
    first, second = pool.get(4 * MIB - 7), pool.get(4 * MIB)
    first.view[0], second.view[0] = 1, 2
    taken = first[0:1]
    del first
    third = pool.get(3 * MIB + 1)
    assert third[0:1] == b"\1", "the first one's memory"
    third.view[0] = 3
    assert (taken, second[0:1]) == (b"\1", b"\2")


def test_blocks_that_fill_as_many_huge_pages_share_memory():
    pool = BufferPool()
    first = pool.get(4 * MIB + 5)
    first.view[0] = 1
    del first
    assert pool.get(6 * MIB)[0:1] == b"\1"


def test_what_is_held_is_never_given_out_again():
    pool = BufferPool()

    def work(number):
        mark = number.to_bytes(4, "little")
        for _ in range(50):
            pooled = pool.get(MIB)
            pooled.view[:4], pooled.view[-4:] = mark, mark
            assert pooled[0:4] == pooled[MIB - 4 : MIB] == mark
            del pooled
        return True

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(16)))


@pytest.mark.parametrize("free_bytes", [0, 2 * MIB])
def test_what_is_kept_is_bounded(free_bytes):
    pool = BufferPool(kept_bytes=3 * MIB, free_bytes=free_bytes)
    held = [pool.get(MIB) for _ in range(10)]
    del held
    gc.collect()
    assert pool.idle_bytes == 3 * MIB + (free_bytes if hasattr(mmap, "MADV_FREE") else 0)
    pool.clear()
    assert pool.idle_bytes == 0


def test_what_the_system_may_take_is_used_like_any_other():
    pool = BufferPool(kept_bytes=0, free_bytes=4 * MIB)
    for mark in (b"a", b"b"):
        pooled = pool.get(MIB)
        pooled.view[:] = mark * MIB
        assert pooled[0:MIB] == mark * MIB
        del pooled


def test_longer_memory_is_used_rather_than_fresh():
    pool = BufferPool()
    pooled = pool.get(4 * MIB)
    pooled.view[0] = 7
    del pooled
    pooled = pool.get(2 * MIB)
    assert pooled[0:1] == b"\7"
    del pooled
    assert pool.get(MIB)[0:1] == b"\0", "more than half of it would lie idle"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_into_memory_of_its_own():
    pool = BufferPool()
    pooled = pool.get(MIB)
    pooled.view[0] = 1
    child = os.fork()
    if child == 0:
        pooled.view[0] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert pooled[0:1] == b"\1"
    assert isinstance(pooled, PooledBuffer)


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


def test_the_garbage_collector_has_nothing_to_complain_about(monkeypatch):
    """It may end the memory of a read that failed before the view of it."""
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    cycle = [ExactBuffer(10)]
    cycle.append(cycle)
    del cycle
    gc.collect()
    assert not told


def test_what_was_taken_is_not_written_to():
    buffer = ExactBuffer(10)
    buffer.finish()
    with pytest.raises(ValueError, match="released"):
        buffer.view[0] = 1
