"""Threads: results in order, bounded look-ahead, and no thread left behind however the work ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shardpack.runtime.threads import DaemonThreads, Threads, call_all, ordered_map
from tests.conftest import ROOT

LONG = 60  # seconds, which only a defect takes


def ours(purpose):
    return [thread for thread in threading.enumerate() if thread.name.startswith(f"shardpack-{purpose}")]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(0, 5), st.none() | st.integers(1, 5), st.booleans())
def test_results_come_in_order(count, depth, threads, grow):
    results = ordered_map(range(count), lambda i: i * i, depth=depth, threads=threads, grow=grow)
    assert list(results) == [i * i for i in range(count)]


def test_nothing_begins_before_it_is_asked_for():
    begun = []
    results = ordered_map(range(3), begun.append, depth=2, purpose="lazy")
    assert begun == []
    assert not ours("lazy")
    results.close()


@pytest.mark.parametrize(("depth", "threads"), [(1, 1), (3, 3), (4, 2)])
def test_look_ahead_is_bounded_and_items_are_drawn_in_the_consumers_thread(depth, threads):
    drawn, at_once, most = [], set(), [0]
    lock = threading.Lock()

    def items():
        for i in range(20):
            assert threading.current_thread() is threading.main_thread()
            drawn.append(i)
            yield i

    def work(i):
        with lock:
            at_once.add(i)
            most[0] = max(most[0], len(at_once))
        time.sleep(0.001)
        with lock:
            at_once.discard(i)
        return i

    for taken, _ in enumerate(ordered_map(items(), work, depth=depth, threads=threads)):
        assert len(drawn) <= taken + depth
    assert most[0] <= threads


def test_look_ahead_grows_from_one():
    drawn = []
    results = ordered_map((drawn.append(i) or i for i in range(40)), lambda i: i, depth=8, grow=True)
    ahead = []
    for taken, _ in enumerate(results, start=1):
        ahead.append(len(drawn) - taken)
    assert ahead[:5] == [0, 1, 3, 7, 7]


def test_depth_0_works_in_the_consumers_thread():
    where = list(ordered_map(range(3), lambda _: threading.current_thread(), depth=0))
    assert where == [threading.current_thread()] * 3


def test_an_error_comes_where_its_result_would_have_come():
    def work(i):
        if i == 3:
            raise LookupError("three")
        time.sleep(0.01 * (i < 3))
        return i

    taken = []
    with pytest.raises(LookupError, match="three"):
        taken.extend(iter_into(taken, ordered_map(range(9), work, depth=9, purpose="failing")))
    assert taken == [0, 1, 2]
    assert not ours("failing")


def iter_into(taken, results):
    for result in results:
        taken.append(result)
    return []


def test_an_error_of_the_items_ends_it():
    def items():
        yield from range(3)
        raise OSError("the source")

    with pytest.raises(OSError, match="the source"):
        list(ordered_map(items(), abs, depth=2, purpose="source"))
    assert not ours("source")


@pytest.mark.parametrize("leave", ["close", "drop", "throw"])
def test_leaving_cancels_what_has_not_begun_and_joins(leave, cancelled):
    begun, ended = [], []

    def work(i):
        begun.append(i)
        if i > 0:
            assert cancelled.wait(LONG)
        ended.append(i)
        return i

    results = ordered_map(range(100), work, depth=50, threads=2, purpose="left")
    assert next(results) == 0
    if leave == "close":
        results.close()
    elif leave == "throw":
        with pytest.raises(ValueError, match="of the consumer"):
            results.throw(ValueError("of the consumer"))
    else:
        del results
        gc.collect()
    assert sorted(begun) == sorted(ended)
    assert set(begun) <= {0, 1, 2}
    assert not ours("left")


def test_an_iterator_dropped_in_its_own_thread_does_not_wait_for_itself():
    holder, held = [], threading.Event()

    def work(i):
        if i == 1:
            assert held.wait(LONG)
            holder.clear()  # the last reference: as the garbage collector may
        return i

    holder.append(ordered_map(range(2), work, depth=2, purpose="own"))
    assert next(holder[0]) == 0
    threads = ours("own")
    held.set()
    for thread in threads:
        thread.join(LONG)
    assert not holder
    assert not ours("own")


class Meeting:
    """Work that returns -i once `size` calls are there together; `most` is how many ever were."""

    def __init__(self, size):
        self._running, self._lock = set(), threading.Lock()
        self._together = threading.Barrier(size, timeout=LONG)
        self.most = 0

    def __call__(self, i):
        with self._lock:
            self._running.add(i)
            self.most = max(self.most, len(self._running))
        self._together.wait()
        with self._lock:
            self._running.discard(i)
        return -i


def test_call_all_keeps_the_order_and_the_limit():
    work = Meeting(4)
    assert call_all(work, range(20), limit=4) == [-i for i in range(20)]
    assert work.most == 4


@pytest.mark.parametrize(("items", "limit"), [([], 8), ([1], 8), ([1, 2, 3], 1)])
def test_call_all_starts_no_thread_without_need(items, limit):
    assert call_all(lambda _: threading.current_thread(), items, limit=limit) == [threading.main_thread()] * len(items)


def test_the_first_error_of_call_all_stops_what_has_not_begun(cancelled):
    begun, ended = [], []

    def work(i):
        begun.append(i)
        if i == 1:
            raise LookupError("one")
        assert cancelled.wait(LONG)
        ended.append(i)

    with pytest.raises(LookupError, match="one"):
        call_all(work, range(100), limit=2, purpose="all")
    assert sorted([*ended, 1]) == sorted(begun)
    assert set(begun) <= {0, 1, 2}
    assert not ours("all")


def test_threads_are_named_bounded_and_joined():
    with Threads(2, purpose="room") as threads:
        futures = [threads.start(pow, 2, i) for i in range(8)]
        assert [future.result() for future in futures] == [2**i for i in range(8)]
        assert 1 <= len(ours("room")) <= 2
    threads.close()
    assert not ours("room")


def test_an_owner_that_is_dropped_leaves_no_thread():
    threads = Threads(1, purpose="orphan")
    threads.start(abs, 1).result()
    left = ours("orphan")
    del threads
    gc.collect()
    for thread in left:
        thread.join(LONG)
    assert not ours("orphan")


# The two calls that run end only when Ctrl-C has left them: waiting for them would take longer than this test waits.
INTERRUPTED = """
import os, threading
from shardpack.runtime.threads import ordered_map
left = threading.Event()
def work(i):
    os.write(1, b"begun\\n")  # whole, whoever else writes
    left.wait()
try:
    list(ordered_map(range(100), work, depth=50, threads=2))
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
    left.set()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_waits_for_no_call_and_begins_none():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", INTERRUPTED]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert [process.stdout.readline() for _ in range(2)] == ["begun\n"] * 2
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=LONG)
        finally:
            process.kill()
    assert process.returncode == 0
    assert rest == "interrupted\n"


def test_closing_twice_is_harmless():
    with closing(ordered_map(range(3), abs, depth=1)) as results:
        next(results)
        results.close()


# Functions of callers


def test_daemon_threads_do_calls_in_order_and_at_most_so_many_at_once():
    work = Meeting(3)
    with DaemonThreads(3, purpose="daemon") as threads:
        futures = [threads.start(work, i) for i in range(21)]
        assert [future.result() for future in futures] == [-i for i in range(21)]
        assert work.most == 3
    assert not ours("daemon")


@pytest.mark.parametrize("_", range(20))
def test_as_many_daemon_threads_as_allowed_work_at_once_whatever_came_before(_):
    with DaemonThreads(3, purpose="daemon") as threads:
        for i in range(3):
            threads.start(abs, -i).result()  # its thread may be free again, or not yet
        together = threading.Barrier(3, timeout=LONG)
        for future in [threads.start(together.wait) for _ in range(3)]:
            future.result()


def test_daemon_threads_hand_on_errors_and_cancel_what_has_not_begun():
    release = threading.Event()

    def fail():
        raise ZeroDivisionError

    with DaemonThreads(1, purpose="daemon") as threads:
        with pytest.raises(ZeroDivisionError):
            threads.start(fail).result()
        first, second = threads.start(release.wait), threads.start(release.wait)
        while not first.running():
            time.sleep(0.001)
        release.set()
        threads.close()
    threads.close()
    assert first.result() is True
    assert second.cancelled() or second.result() is True
    assert not ours("daemon")


def test_daemon_threads_that_are_dropped_end_by_themselves():
    threads = DaemonThreads(2, purpose="dropped")
    assert [threads.start(abs, -i).result() for i in range(3)] == [0, 1, 2]
    left = ours("dropped")
    del threads
    gc.collect()
    for thread in left:
        thread.join(LONG)
    assert not ours("dropped")


@pytest.mark.skipif(os.name == "nt", reason="sends a signal")
def test_the_first_interrupt_leaves_though_a_call_hangs():
    code = (
        "import os, time\n"
        "from shardpack.runtime.threads import DaemonThreads\n"
        "with DaemonThreads(1, purpose='hang') as threads:\n"
        "    future = threads.start(lambda: [os.write(1, b'hangs\\n'), time.sleep(1000)])\n"
        "    future.result()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"hangs\n"
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=LONG)
        assert b"KeyboardInterrupt" in errors
    finally:
        child.kill()
        child.wait()


def test_calls_that_look_at_stop_end_early():
    stop, ended = threading.Event(), []

    def work(number):
        if number == 0:
            raise ValueError("zero")
        ended.append(stop.wait(LONG))

    with pytest.raises(ValueError, match="zero"):
        call_all(work, range(3), limit=3, stop=stop)
    assert all(ended), "those that had begun looked at it"
