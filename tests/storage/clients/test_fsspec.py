"""Drivers of fsspec as they are: not safe in threads, hanging, with errors of their own."""

from __future__ import annotations

import ftplib
import itertools
import threading
import time
from contextlib import suppress
from typing import ClassVar

import pytest

from shardpack.errors import OptionError, ShardNotFoundError, StorageError
from shardpack.storage.open import open_store

fsspec = pytest.importorskip("fsspec")
from fsspec.implementations.memory import MemoryFileSystem  # noqa: E402 - where fsspec is installed

DATA = bytes(range(256)) * 40


class Connected(MemoryFileSystem):
    """Like SFTP: a connection that breaks when two threads use it, and remembers what was asked."""

    protocol = "connected"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    cachable = True
    asked: ClassVar[list] = []
    trouble: ClassVar[dict] = {}
    made: ClassVar[list] = []

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("connected://"))

    def __init__(self, **options):
        super().__init__(**options)
        self._thread, self._busy = threading.get_ident(), threading.Lock()
        type(self).made.append(self._thread)
        if "connect" in self.trouble:
            raise self.trouble["connect"]

    def _use(self, verb):
        type(self).asked.append(verb)
        if threading.get_ident() != self._thread or not self._busy.acquire(blocking=False):
            raise RuntimeError("two threads use one connection")
        time.sleep(0.001)
        self._busy.release()
        if verb in self.trouble:
            trouble = self.trouble[verb]
            trouble() if callable(trouble) and not isinstance(trouble, type) else None
            if isinstance(trouble, Exception):
                raise trouble

    def info(self, path, **options):
        self._use("info")
        return super().info(path, **options)

    def cat_file(self, path, start=None, end=None, **options):
        self._use("cat")
        return super().cat_file(path, start=start, end=end, **options)

    def rm_file(self, path):
        self._use("rm")
        super().rm_file(path)


@pytest.fixture(autouse=True)
def driver():
    fsspec.register_implementation("connected", Connected, clobber=True)
    Connected.clear_instance_cache()
    Connected.store.clear()
    for kept in (Connected.asked, Connected.made, Connected.trouble):
        kept.clear()
    return Connected


@pytest.fixture
def store():
    found = open_store("connected:///data", {"max_attempts": 2, "read_timeout_seconds": 60.0})
    found.put("a.bin", DATA)
    Connected.asked.clear()
    return found


def test_threads_do_not_share_a_connection(store):
    together, calls = threading.Barrier(2, timeout=60), itertools.count()
    Connected.trouble["cat"] = lambda: together.wait() if next(calls) < 2 else None
    starts = list(range(0, 10_000, 100))
    assert store.get_ranges("a.bin", starts=starts, lengths=[100] * 100) == [DATA[s : s + 100] for s in starts]
    assert store.stats.snapshot().retries == 0
    assert 1 < len(set(Connected.made)) <= 8


def test_the_length_is_asked_for_once(store):
    for start in range(20):
        assert store.get_range("a.bin", start=start, length=10) == DATA[start : start + 10]
    assert Connected.asked == ["info"] + ["cat"] * 20


@pytest.mark.usefixtures("store")
def test_a_call_that_hangs_is_an_error_in_time():
    impatient = open_store(
        "connected:///data", {"max_attempts": 2, "read_timeout_seconds": 0.2, "connect_timeout_seconds": 0.2}
    )
    release = threading.Event()
    Connected.trouble["cat"] = lambda: release.wait(600)
    with pytest.raises(StorageError, match="no answer in"):
        impatient.get_range("a.bin", start=0, length=10)
    Connected.trouble.clear()
    for _ in range(100):  # a busy machine may take longer, too
        with suppress(StorageError):
            assert impatient.get_range("a.bin", start=0, length=10) == DATA[:10]
            break
    else:
        pytest.fail("the driver that hangs is asked again")
    release.set()


def test_an_object_that_was_replaced_by_a_shorter_one_is_noticed(store):
    store.size("a.bin")
    Connected().pipe_file("/data/a.bin", b"abc")
    with pytest.raises(StorageError.__mro__[1], match="was replaced"):
        store.get_range("a.bin", start=0, length=10)


@pytest.mark.parametrize(
    ("trouble", "kind", "says"),
    [
        (ftplib.error_perm("530 Login incorrect"), StorageError, "access denied"),
        (ftplib.error_perm("550 No such file"), ShardNotFoundError, "no object"),
        (ftplib.error_perm("501 Syntax error"), StorageError, "501"),
        (OSError("Unable to load libhdfs"), StorageError, "libhdfs"),
        (type("AuthenticationException", (Exception,), {})("no"), StorageError, "access denied"),
        (NotImplementedError("no"), StorageError, "NotImplementedError"),
        (TypeError("no"), StorageError, "TypeError"),
    ],
)
def test_hopeless_errors_are_not_tried_again(store, trouble, kind, says):
    Connected.trouble["cat"] = trouble
    with pytest.raises(kind, match=says) as caught:
        store.get_range("a.bin", start=0, length=10)
    assert Connected.asked.count("cat") == 1
    assert "try again" not in str(caught.value)


@pytest.mark.parametrize("trouble", [OSError("broken"), ftplib.error_temp("421 Busy"), TimeoutError("slow")])
def test_others_are(store, trouble):
    Connected.trouble["cat"] = trouble
    with pytest.raises(StorageError, match="after 2 attempts"):
        store.get_range("a.bin", start=0, length=10)


@pytest.mark.parametrize("trouble", [ftplib.error_perm("550 No such file"), FileNotFoundError("x")])
def test_deleting_what_is_not_there_is_fine(store, trouble):
    Connected.trouble["rm"] = trouble
    store.delete("nowhere.bin")


def test_errors_of_connecting(driver):
    driver.trouble["connect"] = ConnectionRefusedError("refused")
    with pytest.raises(StorageError, match="ConnectionRefusedError"):
        open_store("connected:///data", {"max_attempts": 1}).size("a")
    driver.trouble["connect"] = OSError("libhdfs failed")
    with pytest.raises(StorageError, match="libhdfs") as caught:
        open_store("connected:///data").size("a")
    assert "attempts" not in str(caught.value)


class Picky(MemoryFileSystem):
    protocol = "picky"

    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url


@pytest.mark.parametrize("options", [{}, {"nonsense": 1}, {"base_url": "x", "nonsense": 1}])
def test_wrong_and_missing_options_are_told(options):
    fsspec.register_implementation("picky", Picky, clobber=True)
    with pytest.raises(OptionError, match=r"cannot open picky://.*check the storage_options"):
        open_store("picky:///data", options).size("a")


def test_slashes_are_kept_for_the_driver(driver):
    store = open_store("connected:///data/x")
    store.put("a.bin", b"abc")
    assert "/data/x/a.bin" in driver.store
    assert store.location == "connected:///data/x"
