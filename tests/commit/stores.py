"""Stores that tell what was done to them, and that fail, lie or wait when asked to."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path

from shardpack.storage import open as location
from shardpack.storage.memory import MemoryStore

_numbers = itertools.count()


class WatchedStore(MemoryStore):
    """A store in memory that `open_store` finds at `url`.

    Attributes:
        log: What changed it, in order: ("put", "create" or "delete", name).
        before, after: Called with each of these, before and after it is done; may raise.
        changed: What becomes of the bytes of a put.
    """

    def __init__(self):
        super().__init__({}, location=f"memory://watched-{next(_numbers)}")
        self.url = self.location
        self.log: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda *_: None
        self.after: Callable[[str, str], None] = lambda *_: None
        self.changed: Callable[[str, bytes], bytes] = lambda _, data: data
        self._lock = threading.Lock()
        location._in_memory[self.url] = self

    def put(self, path, source, *, cache_control=None):  # noqa: ARG002
        data = source.read_bytes() if isinstance(source, Path) else source
        self._do("put", path, lambda: super(WatchedStore, self).put(path, self.changed(path, data)))

    def create(self, path, source):
        data = source.read_bytes() if isinstance(source, Path) else source
        self._do("create", path, lambda: super(WatchedStore, self).create(path, self.changed(path, data)))

    def delete(self, path):
        self._do("delete", path, lambda: super(WatchedStore, self).delete(path))

    def _do(self, what, path, how):
        self.before(what, path)
        with self._lock:
            self.log.append((what, path))
            how()
        self.after(what, path)

    def contents(self):
        return dict(self._objects)

    def puts(self, suffix=""):
        return [name for what, name in self.log if what == "put" and name.endswith(suffix)]


class ReadStore(WatchedStore):
    """Also tells which objects were read."""

    def __init__(self):
        super().__init__()
        self.read: list[str] = []

    def get_range(self, path, *, start, length):
        self.read.append(path)
        return super().get_range(path, start=start, length=length)

    def get(self, path, *, max_bytes=None):
        self.read.append(path)
        return super().get(path, max_bytes=max_bytes)

    def map(self, path):
        self.read.append(path)
        return super().map(path)

    def payload_reads(self):
        return [name for name in self.read if name.endswith((".tar", ".tar.zst"))]


class KilledError(BaseException):
    """The process is gone, as far as the code under test is concerned."""


def kill_at(store, step):
    """Let no change reach the store from the given one on, counted from 1; half of them die just after it."""
    count = itertools.count(1)
    lock = threading.Lock()
    state = {"dead": False}

    def before(*_):
        with lock:
            number = next(count)
            if state["dead"] or (number == step and step % 2):
                state["dead"] = True
                raise KilledError

    def after(*_):
        with lock:
            # More, where another thread was faster between a change and this look at it.
            if not step % 2 and not state["dead"] and len(store.log) - start >= step:
                state["dead"] = True
                raise KilledError

    start = len(store.log)
    store.before, store.after = before, after


def heal(store):
    store.before = store.after = lambda *_: None
