"""Counters of many threads."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardpack.storage.stats import ReadStats, Stats


def test_all_is_counted():
    stats = ReadStats()
    stats.add_requests(2, 30)
    stats.add_used(20)
    stats.add_hits(3)
    stats.add_retry()
    assert stats.snapshot() == Stats(requests=2, bytes_fetched=30, bytes_used=20, cache_hits=3, retries=1)


def test_threads_lose_nothing():
    stats = ReadStats()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [stats.add_requests(1, 5) for _ in range(1000)], range(8)))
    assert stats.snapshot() == Stats(requests=8000, bytes_fetched=40_000)


def test_pickles_as_zero():
    stats = ReadStats()
    stats.add_used(7)
    assert pickle.loads(pickle.dumps(stats)).snapshot() == Stats()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_counts_though_another_thread_held_the_lock():
    stats = ReadStats()
    with stats._lock:
        child = os.fork()
        if child == 0:
            stats.add_used(1)
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
