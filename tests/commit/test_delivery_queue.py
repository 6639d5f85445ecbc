"""Deliveries are bounded, report their errors, and leave no thread waiting."""

from __future__ import annotations

import threading

import pytest

from shardpack.commit.delivery_queue import DeliveryQueue
from shardpack.runtime.processes import WorkerPool


def test_room_is_given_back_by_what_has_arrived():
    gate = threading.Event()
    with DeliveryQueue(lambda *_: gate.wait(60), max_shards=2) as uploads:
        assert uploads.acquire()
        assert uploads.acquire()
        threading.Timer(0.05, gate.set).start()
        uploads.submit("a", "")
        assert uploads.acquire()  # once "a" has gone
        uploads.submit("b", "")
        assert sorted([*uploads.poll(), *uploads.drain()]) == ["a", "b"]
        assert not list(uploads.drain())


def test_an_error_is_raised_once_and_frees_its_place():
    def fail(info, _):
        raise ValueError(info)

    with DeliveryQueue(fail, max_shards=2) as uploads:
        for _ in range(2):
            assert uploads.acquire()
            uploads.submit("a", "")
        assert uploads.acquire()
        with pytest.raises(ValueError, match="a"):
            list(uploads.drain())


def test_closing_ends_all_waiting():
    with DeliveryQueue(lambda *_: None, max_shards=2) as uploads:
        assert [uploads.acquire(), uploads.acquire()] == [True, True]
        threading.Timer(0.05, uploads.close).start()
        assert uploads.acquire() is False
        assert uploads.acquire() is False


def test_leaving_waits_for_what_is_under_way_and_drops_the_rest(cancelled):
    done, started = [], threading.Semaphore(0)

    def upload(info, _):
        started.release()
        assert cancelled.wait(60)
        done.append(info)

    with DeliveryQueue(upload, max_shards=2) as uploads:
        for name in "abcdef":
            uploads.submit(name, "")
        started.acquire()
        started.acquire()
    assert sorted(done) == ["a", "b"]


def ends_badly(task):
    if task == 3:
        raise ValueError("three")
    return task


def test_workers_that_wait_for_room_end_with_the_first_error():
    """Their results were never fetched, so that nothing would make room any more."""
    with WorkerPool(2) as pool, DeliveryQueue(lambda *_: None, max_shards=3) as uploads:
        results = (uploads.submit(info, "") for _, info in pool.map(ends_badly, range(100), backpressure=uploads))
        with pytest.raises(ValueError, match="three"):
            list(results)
    assert uploads.acquire() is False
