"""A bucket without a network: what `RemoteStore` asks of its client, from a dict, every request written down."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from pathlib import Path

from shardpack.storage import open as location
from shardpack.storage.clients.client import ReceivedBody, RequestError
from shardpack.storage.protocols import Version
from shardpack.storage.remote import RemoteStore
from shardpack.storage.retry import RetryLimits
from shardpack.storage.session import RemoteLimits


class FakeBucket:
    """Both connection and client. `asked` holds (verb, name, bytes); `before` may raise for any of them."""

    def __init__(self, url: str, objects: dict[str, bytes] | None = None, *, etags: bool = True):
        self.location, self.objects, self.etags = url, dict(objects or {}), etags
        self.asked: list[tuple[str, str, int]] = []
        self.before: Callable[[str, str], None] = lambda *_: None
        self._lock = threading.Lock()

    def connect(self):
        return self

    advice = "check the credentials"

    def redact(self, text):
        return text

    def _version(self, name):
        data = self.objects.get(name)
        if data is None:
            raise RequestError("missing", "status 404")
        return Version(len(data), f'"{hash(data):x}"' if self.etags else "")

    def _ask(self, verb, name, num_bytes=0):
        self.before(verb, name)
        with self._lock:
            self.asked.append((verb, name, num_bytes))

    def head(self, path):
        self._ask("head", path)
        return self._version(path)

    def get(self, path, *, start, length, etag):
        version = self._version(path)
        if etag and etag != version.etag:
            raise RequestError("changed", "status 412")
        if start >= version.size and length:
            raise RequestError("beyond", "status 416")
        data = self.objects[path][start : None if length is None else start + length]
        self._ask("get", path, len(data))
        return ReceivedBody(version, data)

    can_create = True

    def put(self, path, source, *, cache_control=None):  # noqa: ARG002
        self._ask("put", path)
        self.objects[path] = source.read_bytes() if isinstance(source, Path) else bytes(source)

    def create(self, path, source):
        if path in self.objects:
            raise RequestError("exists", "status 412")
        self.put(path, source)

    def close(self):
        """Nothing is open."""

    def delete(self, path):
        self._ask("delete", path)
        self.objects.pop(path, None)

    def names(self, folder=""):
        self._ask("list", folder)
        return [name for name in self.objects if not folder or name.startswith(f"{folder}/")]

    def fetched(self, suffix: str = ".tar") -> int:
        """Return the bytes of objects called so that were asked for."""
        return sum(length for _, name, length in self.asked if name.endswith(suffix))


def serve(monkeypatch, *buckets: FakeBucket) -> None:
    """Let `open_store` find these buckets at their `memory://` URLs, and folders of them below."""
    limits = RemoteLimits(max_requests=32, retry=RetryLimits(max_attempts=1))
    usual = location.open_store

    def open_store(url, options=None):
        for bucket in buckets:
            if str(url).rstrip("/") == bucket.location:
                return RemoteStore(bucket, limits)
        return usual(url, options)

    for module in (
        "storage.open",
        "edit.copy",
        "index.roots",
        "inspect.verify",
        "read.open_location",
        "storage.locations",
        "index.index_target",
    ):
        monkeypatch.setattr(importlib.import_module(f"shardpack.{module}"), "open_store", open_store)
