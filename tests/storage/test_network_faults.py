"""What networks do: every fault is healed, with the right bytes and a counted retry, or is a clear error in time."""

from __future__ import annotations

import os
import time
from email.utils import formatdate

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.storage.open import open_store
from tests.servers.faults import Fault

pytest.importorskip("obstore")
pytest.importorskip("urllib3")

DATA = bytes(range(251)) * 40_000  # 10 MB
QUICK = {"read_timeout_seconds": 0.6, "connect_timeout_seconds": 1.0, "max_attempts": 3, "max_seconds": 8.0}


@pytest.fixture(params=["http", "s3"])
def remote(request, tmp_path, nginx_server, proxy):
    """Return (store, proxy before its server)."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(DATA)
    between = proxy(nginx_server(tmp_path).url)
    if request.param == "http":
        return open_store(f"{between.url}/data", QUICK), between
    options = {"endpoint": between.url, "skip_signature": True, "region": "here"}
    return open_store("s3://data", {**QUICK, **options}), between


HEALED = [
    Fault("status", status=500),
    Fault("status", status=503),
    Fault("status", status=429, times=2),
    Fault("reset"),
    Fault("reset", after_bytes=100_000),
    Fault("truncate"),
    Fault("truncate", after_bytes=300_000),
    Fault("stall", seconds=30.0),
    Fault("stall", after_bytes=50_000, seconds=30.0),
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


@pytest.mark.parametrize("kind", ["reset", "truncate", "stall"])
def test_a_broken_transfer_goes_on_where_it_was(remote, kind):
    store, between = remote
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault(kind, after_bytes=3_000_000, seconds=30.0))
    assert store.get_range("a.bin", start=0, length=9_000_000) == DATA[:9_000_000]
    starts = [request.range[0] for request in between.requests]
    assert len(starts) == 2
    assert 3_000_000 - (1 << 20) <= starts[1] <= 3_000_000


# obstore does not tell what Retry-After says; its pause is a longer one all the same.
tells_retry_after = pytest.mark.parametrize("remote", ["http"], indirect=True)


@tells_retry_after
@pytest.mark.parametrize("retry_after", [1, "date"])
def test_the_server_is_given_the_time_it_asks_for(remote, retry_after):
    store, between = remote
    store.size("a.bin")
    value = retry_after
    if retry_after == "date":
        value = formatdate(time.time() + 2, usegmt=True)
    between.faults.append(Fault("status", status=503, retry_after=value))
    began = time.monotonic()
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    assert time.monotonic() - began >= 0.9


@tells_retry_after
def test_a_wait_that_is_too_long_is_an_error_at_once(remote):
    store, between = remote
    store.size("a.bin")
    between.faults.append(Fault("status", status=429, retry_after=3600, times=None))
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"429 .*try again later"):
        store.get_range("a.bin", start=0, length=5)
    assert time.monotonic() - began < 5


LASTING = [
    (Fault("status", status=500, times=None), StorageError, r"after 3 attempts in .*500"),
    (Fault("status", status=503, times=None), StorageError, r"attempts? in .*503|503"),
    (Fault("status", status=403, times=None), StorageError, r"access denied .*check the credentials"),
    (Fault("status", status=404, times=None), ShardNotFoundError, r"no object '.*a\.bin'; check the name"),
    (Fault("status", status=400, times=None), StorageError, r"400"),
    (Fault("reset", times=None), StorageError, r"after 3 attempts"),
    (Fault("truncate", after_bytes=10, times=None), StorageError, r"after 3 attempts"),
    (Fault("stall", seconds=30.0, times=None), StorageError, r"after 3 attempts"),
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
def test_lasting_faults_are_clear_errors_in_time(remote, fault, kind, says):
    store, between = remote
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]
    between.faults.append(Fault(**vars(fault)))
    began = time.monotonic()
    with pytest.raises(kind, match=says) as caught:
        store.get_range("a.bin", start=1000, length=500_000)
    assert time.monotonic() - began < QUICK["max_seconds"] + 10
    assert "\n" not in str(caught.value)
    if kind is StorageError and "denied" not in says:
        assert f"{store.location}/a.bin" in str(caught.value)
        assert "bytes 1000 to 501000" in str(caught.value)


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


def test_many_requests_share_one_backoff(remote):
    """One told to wait holds all back: the server is not pressed on while it asks for less."""
    store, between = remote
    store.size("a.bin")
    between.clear()
    between.faults.append(Fault("status", status=503, times=3))
    starts = list(range(0, 4_000_000, 100_000))
    assert store.get_ranges("a.bin", starts=starts, lengths=[1000] * 40) == [DATA[s : s + 1000] for s in starts]
    assert len(between.requests) == 43
    assert store.stats.snapshot().retries == 3


def test_requests_are_bounded_and_overlap(tmp_path, nginx_server, proxy):
    (tmp_path / "a.bin").write_bytes(DATA)
    between = proxy(nginx_server(tmp_path).url, latency_seconds=0.2)
    store = open_store(between.url, {"max_requests": 16})
    starts = list(range(0, 6_400_000, 100_000))
    began = time.monotonic()
    store.get_ranges("a.bin", starts=starts, lengths=[100] * 64)
    assert between.max_in_flight <= 16
    assert between.max_in_flight >= 8
    assert time.monotonic() - began < 64 * 0.2
