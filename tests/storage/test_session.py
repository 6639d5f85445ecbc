"""Threads, clients and pauses of a remote store in one process."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from shardpack.errors import StorageError
from shardpack.storage.clients.client import RequestError
from shardpack.storage.remote import RemoteStore
from shardpack.storage.retry import RetryLimits
from shardpack.storage.session import RemoteLimits, Session
from shardpack.storage.stats import ReadStats
from tests.buckets import FakeBucket
from tests.conftest import ROOT

DATA = bytes(range(256)) * 4
LONG = 60  # seconds, which only a defect takes
PATIENT = RetryLimits(first_delay_seconds=60, max_delay_seconds=600, max_seconds=1e6)  # pauses of minutes


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("shardpack-requests")]


def test_one_item_costs_no_thread():
    session = Session(FakeBucket("s3://x"), RemoteLimits(), ReadStats())
    assert session.call_all(lambda item: (item, threading.current_thread()), [5]) == [(5, threading.current_thread())]
    assert session.call_all(len, []) == []


def test_closing_joins_the_threads_and_lets_go_of_the_client():
    bucket = FakeBucket("s3://x", {"a": DATA})
    closed = []
    bucket.close = lambda: closed.append(True)
    store = RemoteStore(bucket)
    before = own_threads()
    assert len(store.get_ranges("a", starts=range(40), lengths=[5] * 40)) == 40
    started = [thread for thread in own_threads() if thread not in before]
    assert started
    store.close()
    assert closed == [True]
    assert not [thread for thread in started if thread.is_alive()]
    assert store.get_ranges("a", starts=[0, 1], lengths=[5, 5]) == [DATA[:5], DATA[1:6]]
    store.close()


def test_a_first_error_stops_what_has_not_begun():
    session = Session(FakeBucket("s3://x"), RemoteLimits(max_requests=2), ReadStats())
    done, left = [], threading.Event()

    def work(item):
        if item == 0:
            raise ValueError("first")
        assert left.wait(LONG)
        done.append(item)

    with pytest.raises(ValueError, match="first"):
        session.call_all(work, list(range(100)))
    left.set()
    session.close()
    assert set(done) <= {1, 2}, "what the two threads had begun"


def test_who_reads_while_another_thread_closes_is_told_so():
    bucket = FakeBucket("s3://x", {"a": DATA})
    store = RemoteStore(bucket, RemoteLimits(max_requests=1))
    bucket.before = lambda *_: store.close()  # by the first request of several, whether or not the others wait already
    with pytest.raises(StorageError, match="the dataset is closed: 's3://x' was closed while it was read; open it"):
        store.get_ranges("a", starts=range(40), lengths=[5] * 40)
    assert not bucket.asked[1:]
    bucket.before = lambda *_: None
    assert store.get_ranges("a", starts=[0, 1], lengths=[5, 5]) == [DATA[:5], DATA[1:6]]
    store.close()


def test_errors_of_the_work_itself_keep_their_class():
    session = Session(FakeBucket("s3://x"), RemoteLimits(), ReadStats())

    def work(item):
        raise RuntimeError(item)

    with pytest.raises(RuntimeError, match=r"^0$"):
        session.call_all(work, [0, 1])
    session.close()


def test_closing_ends_a_pause():
    bucket, asked = FakeBucket("s3://x", {"a": DATA}), threading.Event()

    def busy(*_):
        asked.set()
        raise RequestError("busy", "status 503")

    bucket.before = busy
    store = RemoteStore(bucket, RemoteLimits(retry=PATIENT))
    errors = []

    def read():
        try:
            store.get_range("a", start=0, length=1)
        except StorageError as error:
            errors.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    assert asked.wait(LONG)
    store.close()
    reader.join(LONG)
    assert not reader.is_alive()
    assert "503" in errors[0]


def test_closing_amid_a_request_ends_the_pause_that_would_follow_it():
    bucket = FakeBucket("s3://x", {"a": DATA})
    store = RemoteStore(bucket, RemoteLimits(retry=PATIENT))

    def busy(*_):
        store.close()
        raise RequestError("busy", "status 503")

    bucket.before = busy
    with pytest.raises(StorageError, match="503"):
        store.get_range("a", start=0, length=1)


ABANDONED = """
import threading
from shardpack.storage.clients.client import RequestError
from shardpack.storage.remote import RemoteStore
from shardpack.storage.retry import RetryLimits
from shardpack.storage.session import RemoteLimits
from tests.buckets import FakeBucket

bucket = FakeBucket("s3://x", {"a": bytes(100)})
begun = threading.Event()

def busy(*_):
    begun.set()
    raise RequestError("busy", "status 503")

bucket.before = busy
retry = RetryLimits(first_delay_seconds=60, max_delay_seconds=600, max_seconds=1e6)
store = RemoteStore(bucket, RemoteLimits(retry=retry))
threading.Thread(target=lambda: store.get_ranges("a", starts=[0, 1], lengths=[5, 5]), daemon=True).start()
begun.wait()
print("left", flush=True)
"""


def test_the_interpreter_does_not_wait_for_requests_that_would_be_tried_again():
    done = subprocess.run(
        [sys.executable, "-c", ABANDONED], cwd=ROOT, check=False, capture_output=True, text=True, timeout=2 * LONG
    )
    assert done.stdout == "left\n"
