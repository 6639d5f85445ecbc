"""Memory that is lent for blocks, and lent again."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardpack.storage import lending
from shardpack.storage.lending import Lender, Lent, view_of

MIB = 1 << 20


def test_slices_are_bytes_of_what_was_received():
    lent = Lender().lend(MIB + 5)
    lent.view[:] = bytes(range(251)) * (MIB // 251) + bytes(MIB + 5 - MIB // 251 * 251)
    assert len(lent) == len(lent.view) == MIB + 5
    assert type(lent[3:300]) is bytes
    assert lent[3:300] == bytes(lent.view[3:300])
    assert view_of(lent) is lent.view
    assert view_of(b"abc") == b"abc"


@pytest.mark.parametrize("length", [0, 1000, 17 * MIB])
def test_short_and_very_long_ranges_are_not_for_lending(length):
    assert Lender().lend(length) is None


def test_memory_is_lent_again_once_nobody_holds_it():
    lender = Lender()
    first, second = lender.lend(4 * MIB - 7), lender.lend(4 * MIB)
    first.view[0], second.view[0] = 1, 2
    taken = first[0:1]
    del first
    third = lender.lend(3 * MIB + 1)
    assert third[0:1] == b"\1", "the first one's memory"
    third.view[0] = 3
    assert (taken, second[0:1]) == (b"\1", b"\2")


def test_what_is_held_is_never_lent_to_another():
    lender = Lender()

    def work(number):
        mark = number.to_bytes(4, "little")
        for _ in range(50):
            lent = lender.lend(MIB)
            lent.view[:4], lent.view[-4:] = mark, mark
            assert lent[0:4] == lent[MIB - 4 : MIB] == mark
            del lent
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(16)))


def test_what_is_kept_is_bounded(monkeypatch):
    monkeypatch.setattr(lending, "_MAX_IDLE_BYTES", 3 * MIB)
    lender = Lender()
    held = [lender.lend(MIB) for _ in range(10)]
    del held
    gc.collect()
    assert sum(size * len(kept) for size, kept in lender._idle.items()) == 3 * MIB
    lender.clear()
    assert not lender._idle


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_writes_into_memory_of_its_own():
    lender = Lender()
    lent = lender.lend(MIB)
    lent.view[0] = 1
    child = os.fork()
    if child == 0:
        lent.view[0] = 2
        os._exit(0)
    os.waitpid(child, 0)
    assert lent[0:1] == b"\1"
    assert isinstance(lent, Lent)
