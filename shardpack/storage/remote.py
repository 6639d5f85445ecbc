"""A bucket or server as a store: many requests at once, tried again when they fail, of one version of each object.

    get_many --split--> pieces --threads--> try, try again from the byte reached --> bytes, in the order asked

What a single request is made with is the client's business (`client.py`).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import random
from typing import Any, NoReturn

from shardpack.errors import OutputExistsError, ShardNotFoundError, ShardpackError, StaleIndexError, StorageError
from shardpack.storage.base import BaseStore, check_size, raise_truncated
from shardpack.storage.clients.base import Client, Connection, RequestError
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import Ranges, Version
from shardpack.storage.retry import PROGRESS_BYTES, Retries, RetryLimits

# A request costs tens of milliseconds, in which 64 KiB arrive many times over; but most bytes read must be
# wanted ones (below 1.1 fetched for one used), and the samples of a random batch lie far apart.
_MERGE_LIMITS = MergeLimits(max_gap_bytes=32 << 10, max_request_bytes=8 << 20)
_SPLIT_BYTES = 16 << 20  # longer ranges arrive sooner over several connections
_PIECE_BYTES = 8 << 20
_LARGE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RemoteLimits:
    """What a store may take of the network.

    Attributes:
        max_requests: At once. Small ranges wait for the network's latency only, and overlap.
        max_large_requests: At once, of those longer than 1 MiB: they share the bandwidth.
        retry: When to try again.
    """

    max_requests: int = 256
    max_large_requests: int = 32
    retry: RetryLimits = field(default_factory=RetryLimits)


class RemoteStore(BaseStore):
    """Objects of a bucket or server, below one folder. Safe in threads and after fork; pickles without secrets.

    The first response tells an object's length and ETag; every later one must be of the same
    version. A client and up to `max_requests` threads belong to each process that reads; the threads
    end with the store.
    """

    merge_limits = _MERGE_LIMITS
    checks_reads = True
    remote = True
    prefetch_depth = 16  # of 4 MiB each, more than 10 Gbit/s bring in 50 ms

    def __init__(self, connection: Connection, limits: RemoteLimits | None = None) -> None:
        super().__init__(connection.location)
        self._connection, self._limits = connection, limits or RemoteLimits()
        self._versions: dict[str, Version] = {}
        self._process = _Process(connection, self._limits)

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[Connection, RemoteLimits]]:
        return (RemoteStore, (self._connection, self._limits))

    # Reading

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """See `RangeReader.get_range`. One request, in this thread; several for a long range."""
        return self.get_many([Ranges(path, [start], [length])])[0][0]

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """See `RangeReader.get_ranges`. All at once."""
        return self.get_many([Ranges(path, starts, lengths)])[0]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """See `RangeReader.get_many`. All at once, over all objects."""
        pieces = [
            [
                self._pieces(ranges.path, start, length)
                for start, length in zip(ranges.starts, ranges.lengths, strict=True)
            ]
            for ranges in wanted
        ]
        flat = [piece for ranges in pieces for whole in ranges for piece in whole]
        fetched = iter(self._process.run(self._fetch_piece, flat))
        parts = [[[next(fetched) for _ in whole] for whole in ranges] for ranges in pieces]
        return [[whole[0] if len(whole) == 1 else b"".join(whole) for whole in ranges] for ranges in parts]

    def size(self, path: str) -> int:
        """See `RangeReader.size`. One request, unless the object was read before."""
        version = self._versions.get(path)
        if version is None:
            version = self._tried(path, "ask for the length of", lambda client, _: client.head(path))
            version = self._versions.setdefault(path, version)
        return version.size

    def version(self, path: str) -> Version:
        """Return the version of an object that this store reads; costs as `size`."""
        self.size(path)
        return self._versions[path]

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """See `Store.buffer`. One request, given up when the response tells that it is too long."""
        return self._fetch(path, 0, None, max_bytes=max_bytes)

    def _pieces(self, path: str, start: int, length: int) -> list[tuple[str, int, int]]:
        """Return a range, cut into what one request should carry."""
        if length <= _SPLIT_BYTES:
            return [(path, start, length)]
        if start + length > self.size(path):
            self._raise_truncated(path, start, length)
        end = start + length
        return [(path, at, min(_PIECE_BYTES, end - at)) for at in range(start, end, _PIECE_BYTES)]

    def _fetch_piece(self, piece: tuple[str, int, int]) -> bytes:
        path, start, length = piece
        return self._fetch(path, start, length) if length else b""

    def _fetch(self, path: str, start: int, length: int | None, *, max_bytes: int | None = None) -> bytes:
        parts: list[Any] = []
        with self._process.room(length):
            self._tried(
                path,
                "read" if length is None else f"read bytes {start} to {start + length} of",
                lambda client, got: self._receive(
                    client, path, start + got, None if length is None else length - got, max_bytes
                ),
                parts,
                start=start,
            )
        data = b"".join(parts)
        expected = self._versions[path].size if length is None else length
        if len(data) != expected:
            self._raise_truncated(path, start, expected)
        self.stats.add_requests(1, expected)
        return data

    def _receive(
        self, client: Client, path: str, start: int, length: int | None, max_bytes: int | None
    ) -> Iterator[Any]:
        """Yield buffers that begin at `start`; raise RequestError unless all of the range has come."""
        known = self._versions.get(path)
        if length is None and known is not None and start == known.size:
            return
        with closing(client.get(path, start=start, length=length, etag=known.etag if known else "")) as response:
            known = self._versions.setdefault(path, response.version)
            if response.version != known:
                raise RequestError("changed", f"expected {_described(known)}, got {_described(response.version)}")
            check_size(path, known.size, max_bytes)
            left = known.size - start if length is None else min(length, known.size - start)
            for chunk in response.chunks():
                left -= len(chunk)
                if left < 0:
                    raise RequestError("failed", "the server sent more than was asked for")
                yield chunk
            if left:
                raise RequestError("failed", f"the connection ended {left} bytes too early")

    def close(self) -> None:
        """See `Store.close`."""
        self._process.close()

    # Writing

    @property
    def can_create(self) -> bool:
        """See `WritableStore.can_create`."""
        return self._process.client().can_create

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """See `WritableStore.put`."""
        self._tried(path, "write", lambda client, _: client.put(path, source, cache_control=cache_control))
        self._versions.pop(path, None)

    def create(self, path: str, source: bytes | Path) -> None:
        """See `WritableStore.create`. If an attempt ends in the dark, an object with the same bytes is ours."""
        attempts = 0

        def attempt(client: Client, _: int) -> None:
            nonlocal attempts
            attempts += 1
            client.create(path, source)

        self._versions.pop(path, None)
        try:
            self._tried(path, "create", attempt)
        except OutputExistsError:
            if attempts == 1 or self.buffer(path) != (source if isinstance(source, bytes) else source.read_bytes()):
                raise

    def delete(self, path: str) -> None:
        """See `WritableStore.delete`."""
        self._tried(path, "delete", lambda client, _: client.delete(path))
        self._versions.pop(path, None)

    def names(self) -> list[str]:
        """See `WritableStore.names`."""
        return sorted(self._tried("", "list", lambda client, _: client.names()))

    # Trying

    def _tried(self, path: str, doing: str, request: Any, parts: list[Any] | None = None, *, start: int = 0) -> Any:
        """Return what `request(client, bytes got)` returns, tried again as the limits allow.

        With `parts`, the request is an iterator of buffers: they are collected there, and the next
        try goes on after the last of them.
        """
        retries, began, got = Retries(self._limits.retry), time.monotonic(), 0
        while True:
            before = got
            try:
                self._process.wait_turn()
                client = self._process.client()
                answer = request(client, got)
                if parts is None:
                    return answer
                for chunk in answer:
                    parts.append(chunk)
                    got += len(chunk)
            except RequestError as error:
                if got - before >= PROGRESS_BYTES:  # a long transfer is no long wait
                    began = time.monotonic()
                elapsed = time.monotonic() - began
                pause = retries.pause(error, progress=got - before, elapsed_seconds=elapsed)
                if pause is None:
                    tried = f" after {retries.failures} attempts in {elapsed:.1f} s" if retries.failures > 1 else ""
                    self._raise(path, doing, error, start + got, tried)
                self.stats.add_retry()
                if error.kind == "busy":
                    self._process.slow_down(pause)
                time.sleep(pause)
            else:
                return None

    def _raise(self, path: str, doing: str, error: RequestError, reached: int, tried: str) -> NoReturn:
        where = f"{self.location.rstrip('/')}/{path}"
        reason = self._connection.redact(" ".join(str(error).split()))
        failure: ShardpackError
        if error.kind == "missing":
            failure = ShardNotFoundError(f"no object {where!r}; check the name, or restore it", shard=path)
        elif error.kind == "beyond":
            self._raise_truncated(path, reached, 1)
        elif error.kind == "changed":
            failure = StaleIndexError(
                f"the object {where!r} was replaced after this dataset was opened ({reason}); open the dataset again",
                shard=path,
            )
        elif error.kind == "exists":
            failure = OutputExistsError(f"object exists: {where!r}; choose another name", shard=path)
        elif error.kind == "denied":
            failure = StorageError(
                f"cannot {doing} {where!r}: access denied ({reason}); check the credentials, or pass storage_options",
                shard=path,
            )
        else:
            then = "" if error.kind == "refused" else "; try again later"
            failure = StorageError(f"cannot {doing} {where!r}{tried}: {reason}{then}", shard=path)
        raise failure from None  # what lies below may tell secrets

    def _raise_truncated(self, path: str, start: int, length: int) -> NoReturn:
        raise_truncated(path, start, length, self.size(path))


def _described(version: Version) -> str:
    return f"{version.size} bytes with ETag {version.etag}" if version.etag else f"{version.size} bytes"


_live: weakref.WeakSet[_Process] = weakref.WeakSet()


def _renew_all() -> None:
    for process in list(_live):
        process.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)


class _Process:
    """What a store holds in one process: its client, its threads, and how hard it may press the server.

    A forked child finds nothing of its parent's usable and makes its own.
    """

    def __init__(self, connection: Connection, limits: RemoteLimits) -> None:
        self._connection, self._limits = connection, limits
        self.renew()
        _live.add(self)

    def renew(self) -> None:
        """Forget what a parent process had."""
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._large = threading.BoundedSemaphore(self._limits.max_large_requests)
        self._not_before = 0.0

    def client(self) -> Client:
        """Return the client; the first of many threads makes it."""
        if self._client is None:
            with self._lock:
                if self._client is None:
                    self._client = self._connection.connect()
        return self._client

    def run(self, function: Any, items: Sequence[Any]) -> list[Any]:
        """Return `function` of each item, all at once; the first error stops what has not begun."""
        if len(items) < 2:
            return [function(item) for item in items]
        threads = self._executor()
        futures: list[Future[Any]] = [threads.submit(function, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def _executor(self) -> ThreadPoolExecutor:
        if self._threads is None:
            with self._lock:
                if self._threads is None:
                    self._threads = ThreadPoolExecutor(self._limits.max_requests, thread_name_prefix="shardpack read")
        return self._threads

    def close(self) -> None:
        """End the threads and let go of the client; what comes later makes new ones."""
        with self._lock:
            client, threads = self._client, self._threads
            self._client = self._threads = None
        if threads is not None:
            threads.shutdown(wait=True, cancel_futures=True)
        if client is not None:
            client.close()

    def room(self, length: int | None) -> Any:
        """Return a context in which a request of this length may be made."""
        return self._large if length is None or length > _LARGE_BYTES else _FREE

    def slow_down(self, seconds: float) -> None:
        """Hold back every request of this process: the server has asked one of them to wait."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait_turn(self) -> None:
        wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(wait * (1 + random() / 4))  # noqa: S311 - not all at the same moment


class _Free:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


_FREE = _Free()
