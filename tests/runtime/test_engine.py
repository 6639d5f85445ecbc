"""One contract for every engine: this process, and worker processes."""

from __future__ import annotations

import os
import threading
import time
from contextlib import closing
from functools import partial

import pytest

from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import start_workers


def double(task):
    if task == "bad":
        raise LookupError("bad task")
    return task * 2


class Large:
    """Notes each time it is sent."""

    sent = 0

    def __reduce__(self):
        type(self).sent += 1
        return (Large, ())


def with_large(large, task):
    assert isinstance(large, Large)
    return double(task)


class Room:
    """Backpressure that counts, and lets so many tasks begin."""

    def __init__(self, tasks):
        self.acquired, self.closed, self._tasks = 0, False, tasks
        self._lock = threading.Lock()

    def acquire(self):
        with self._lock:
            self.acquired += 1
            return self.acquired <= self._tasks

    def close(self):
        self.closed = True


@pytest.fixture(params=[1, 2])
def engine(request):
    with start_workers(request.param) as engine:
        assert engine.jobs == request.param
        yield engine


@pytest.mark.parametrize("count", [0, 1, 7])
def test_every_task_has_its_result(engine, count):
    assert dict(engine.map(double, range(count))) == {i: 2 * i for i in range(count)}


def test_what_all_tasks_need_is_sent_to_each_worker_once(engine):
    Large.sent = 0
    for times in (1, 2):
        assert dict(engine.map(partial(with_large, Large()), range(20))) == {i: 2 * i for i in range(20)}
        assert Large.sent <= times * (engine.jobs if engine is not IN_PROCESS else 0)
    assert dict(engine.map(double, range(3))) == {0: 0, 1: 2, 2: 4}


def test_tasks_are_drawn_as_needed_in_the_callers_thread(engine):
    drawn, threads = [], set()

    def tasks():
        for i in range(30):
            drawn.append(i)
            threads.add(threading.get_ident())
            yield i

    for done, _ in enumerate(engine.map(double, tasks())):
        assert len(drawn) - done <= 2 * engine.jobs + 1
    assert threads == {threading.get_ident()}


def test_an_error_ends_the_map(engine):
    with pytest.raises(LookupError, match="bad task"):
        list(engine.map(double, [1, "bad", 2, 3]))


def test_leaving_early_begins_nothing_more(engine):
    drawn = []
    with closing(engine.map(double, (drawn.append(i) or i for i in range(100)))) as results:
        next(results)
    assert len(drawn) < 10


def test_every_task_waits_for_room(engine):
    room = Room(100)
    assert len(list(engine.map(double, range(5), backpressure=room))) == 5
    assert room.acquired == 5


def test_no_room_ends_this_process():
    assert list(IN_PROCESS.map(double, range(5), backpressure=Room(2))) == [(0, 0), (1, 2)]


def reporting(task, report):
    for _ in range(task):
        report(10)
    return task


def test_reports_come_in_the_callers_thread_before_the_result(engine):
    seen, threads = [], set()

    def advance(number, amount):
        seen.append((number, amount))
        threads.add(threading.get_ident())

    for number, task in engine.map(reporting, [3, 0, 2], advance=advance):
        assert seen.count((number, 10)) == task
    assert sorted(seen) == [(0, 10)] * 3 + [(2, 10)] * 2
    assert threads == {threading.get_ident()}


def test_an_error_of_advance_is_the_callers(engine):
    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        list(engine.map(reporting, [1] * 20, advance=broken))


def wait_for(task):
    """Return the second task before the first, wherever two run at once."""
    number, folder = task
    if number == 0 and folder is not None:
        for _ in range(6000):
            if os.path.exists(os.path.join(folder, "1")):
                break
            time.sleep(0.01)
    elif folder is not None:
        open(os.path.join(folder, str(number)), "w").close()
    return number


def test_results_come_in_order_if_asked_for(engine, tmp_path):
    folder = tmp_path if engine.jobs > 1 else None
    drawn = []

    def tasks():
        for i in range(20):
            drawn.append(i)
            yield i, folder

    found = []
    for number, result in engine.map(wait_for, tasks(), in_order=True):
        found.append((number, result))
        assert len(drawn) - len(found) <= 2 * engine.jobs
    assert found == [(i, i) for i in range(20)]
