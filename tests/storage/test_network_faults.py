"""What networks do: every fault is healed, with the right bytes and a counted retry, or is a clear error in time."""

from __future__ import annotations

import os
import time
from email.utils import formatdate

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.storage.open import open_store
from tests.servers.faults import Fault, Gathering

pytest.importorskip("obstore")
pytest.importorskip("urllib3")

DATA = bytes(range(251)) * 40_000  # 10 MB
# What a server that answers never takes, however busy the machine is.
LIMITS = {"read_timeout_seconds": 60.0, "connect_timeout_seconds": 60.0, "max_attempts": 3, "max_seconds": 300.0}
# For a server that stalls: others may seem to, on a busy machine.
IMPATIENT = {**LIMITS, "read_timeout_seconds": 0.6, "max_attempts": 30}


@pytest.fixture(params=["http", "s3"])
def reach(request, tmp_path, nginx_server, proxy):
    """Return (function from limits to a store, proxy before its server)."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(DATA)
    between = proxy(nginx_server(tmp_path).url)
    if request.param == "http":
        return lambda limits: open_store(f"{between.url}/data", limits), between
    options = {"endpoint": between.url, "skip_signature": True, "region": "here"}
    return lambda limits: open_store("s3://data", {**limits, **options}), between


@pytest.fixture
def remote(reach):
    """Return (store, proxy before its server)."""
    connect, between = reach
    return connect(LIMITS), between


HEALED = [
    Fault("status", status=500),
    Fault("status", status=503),
    Fault("status", status=429, times=2),
    Fault("reset"),
    Fault("reset", after_bytes=100_000),
    Fault("truncate"),
    Fault("truncate", after_bytes=300_000),
    Fault("short", after_bytes=70_000),
    Fault("length", delta=-10),
    Fault("length", delta=10),
    Fault("content-range", delta=1),
]


@pytest.mark.parametrize("fault", HEALED, ids=lambda fault: f"{fault.kind}-{fault.after_bytes}-{fault.status}")
def test_passing_faults_are_healed_and_counted(remote, fault):
    store, between = remote
    assert store.get_range("a.bin", start=7, length=9) == DATA[7:16]  # connected, the object's version pinned
    between.clear()
    fault = Fault(**{**vars(fault), "times": fault.times, "skip": 0})
    between.faults.append(fault)
    assert store.get_range("a.bin", start=1000, length=900_000) == DATA[1000:901_000]
    retries = {2 if fault.status == 429 else 1}
    if fault.kind == "length" and fault.delta > 0:  # all wanted bytes may be here before the connection ends too early
        retries.add(0)
    assert store.stats.snapshot().retries in retries
    assert store.stats.snapshot().requests == 2, "a retry does not count as another request"


@pytest.mark.parametrize("after_bytes", [None, 50_000, 3_000_000])
def test_a_transfer_that_stalls_is_begun_again_where_it_was(reach, after_bytes):
    connect, between = reach
    store = connect(IMPATIENT)
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault("stall", after_bytes=after_bytes))
    assert store.get_range("a.bin", start=1000, length=9_000_000) == DATA[1000:9_001_000]
    starts = [request.range[0] for request in between.requests]
    assert len(starts) >= 2
    assert starts == sorted(starts)
    assert starts[1] <= 1000 + (after_bytes or 0)
    assert store.stats.snapshot().retries >= 1
    assert store.stats.snapshot().requests == 1, "a retry does not count as another request"


@pytest.mark.parametrize("kind", ["reset", "truncate"])
def test_a_broken_transfer_goes_on_where_it_was(remote, kind):
    store, between = remote
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault(kind, after_bytes=3_000_000))
    assert store.get_range("a.bin", start=0, length=9_000_000) == DATA[:9_000_000]
    starts = [request.range[0] for request in between.requests]
    assert len(starts) == 2
    assert 3_000_000 - (1 << 20) <= starts[1] <= 3_000_000


# obstore does not tell what Retry-After says; its pause is a longer one all the same.
tells_retry_after = pytest.mark.parametrize("reach", ["http"], indirect=True)


@tells_retry_after
@pytest.mark.parametrize("retry_after", [1, "date"])
def test_the_server_is_given_the_time_it_asks_for(remote, retry_after):
    store, between = remote
    store.size("a.bin")
    between.clear()
    began, now = time.monotonic(), time.time()
    due = int(now) + 2
    value = formatdate(due, usegmt=True) if retry_after == "date" else retry_after
    between.faults.append(Fault("status", status=503, retry_after=value))
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    first, second = (request.time for request in between.requests)
    assert second >= (began + due - now if retry_after == "date" else first + retry_after)


@tells_retry_after
def test_a_wait_that_is_too_long_is_an_error_at_once(remote):
    store, between = remote
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault("status", status=429, retry_after=3600, times=None))
    with pytest.raises(StorageError, match=r"429 .*try again later"):
        store.get_range("a.bin", start=0, length=5)
    assert len(between.requests) == 1


LASTING = [
    (Fault("status", status=500, times=None), StorageError, r"after 3 attempts in .*500"),
    (Fault("status", status=503, times=None), StorageError, r"attempts? in .*503|503"),
    (Fault("status", status=403, times=None), StorageError, r"access denied .*check the credentials"),
    (Fault("status", status=404, times=None), ShardNotFoundError, r"no object '.*a\.bin'; check the name"),
    (Fault("status", status=400, times=None), StorageError, r"400"),
    (Fault("reset", times=None), StorageError, r"after 3 attempts"),
    (Fault("truncate", after_bytes=10, times=None), StorageError, r"after 3 attempts"),
    (Fault("content-range", delta=1, times=None), StorageError, r"after 3 attempts"),
    (
        Fault("etag", times=None),
        StaleIndexError,
        r"was replaced after this dataset was opened .*open the dataset again",
    ),
]


@pytest.mark.parametrize(
    ("fault", "kind", "says"), LASTING, ids=[f"{fault.kind}-{fault.status}" for fault, *_ in LASTING]
)
def test_lasting_faults_are_clear_errors_after_so_many_attempts(remote, fault, kind, says):
    store, between = remote
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    between.clear()
    between.faults.append(Fault(**vars(fault)))
    check_clear_error(store, kind, says)
    assert len(between.requests) == (3 if kind is StorageError and fault.status >= 500 else 1)


def check_clear_error(store, kind, says):
    with pytest.raises(kind, match=says) as caught:
        store.get_range("a.bin", start=1000, length=500_000)
    assert "\n" not in str(caught.value)
    if kind is StorageError and "denied" not in says:
        assert f"{store.location}/a.bin" in str(caught.value)
        assert "bytes 1000 to 501000" in str(caught.value)


def test_a_server_that_always_stalls_is_a_clear_error(reach):
    connect, between = reach
    store = connect({**IMPATIENT, "max_attempts": 3})
    between.faults.append(Fault("stall", times=None))
    check_clear_error(store, StorageError, r"after 3 attempts")
    assert len(between.requests) == 3


def test_a_server_that_is_gone_is_an_error_and_is_found_again(remote):
    store, between = remote
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    with between.down(), pytest.raises(StorageError, match="after 3 attempts"):
        store.get_range("a.bin", start=0, length=5)
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]


def test_ignored_ranges_never_give_wrong_bytes(remote):
    store, between = remote
    between.faults.append(Fault("ignore-range", times=None))
    with pytest.raises(ShardpackError):
        store.get_range("a.bin", start=1000, length=5)


def test_a_replaced_object_is_an_error_not_a_mixture(remote, tmp_path):
    store, _ = remote
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    other = tmp_path / "data" / "other"
    other.write_bytes(DATA[::-1])
    os.utime(other, (1e9, 1e9))  # nginx makes the ETag of time and length
    other.replace(tmp_path / "data" / "a.bin")
    with pytest.raises(StaleIndexError, match="was replaced"):
        store.get_range("a.bin", start=5, length=5)
    (tmp_path / "data" / "a.bin").write_bytes(DATA[:100])
    with pytest.raises((StaleIndexError, CorruptShardError)):
        store.get_range("a.bin", start=5000, length=5)


def test_many_requests_share_one_backoff(reach):
    """One told to wait holds all back: the server is not pressed on while it asks for less."""
    connect, between = reach
    store = connect({**LIMITS, "max_attempts": 4})  # one request may be told to wait each time
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault("status", status=503, times=3))
    starts = list(range(0, 4_000_000, 100_000))
    assert store.get_ranges("a.bin", starts=starts, lengths=[1000] * 40) == [DATA[s : s + 1000] for s in starts]
    assert len(between.requests) == 43
    assert store.stats.snapshot().retries == 3


def test_requests_are_bounded_and_overlap(tmp_path, nginx_server, proxy):
    (tmp_path / "a.bin").write_bytes(DATA)
    between = proxy(nginx_server(tmp_path).url)
    between.gatherings.append(Gathering("a.bin", 16))
    store = open_store(between.url, {"max_requests": 16})
    starts = list(range(0, 6_400_000, 100_000))
    store.get_ranges("a.bin", starts=starts, lengths=[100] * 64)
    assert between.max_in_flight == 16
