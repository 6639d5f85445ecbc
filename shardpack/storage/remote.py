"""A bucket or server as a store: many requests at once, tried again when they fail, of one version of each object.

    get_many --split--> requests --threads--> attempts, each from the byte reached --> one buffer a range

What a single request is made with is the client's business (`clients/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from shardpack.errors import OutputExistsError
from shardpack.storage.base_store import BaseStore, check_size, raise_truncated
from shardpack.storage.buffer_pool import BufferPool, PooledBuffer
from shardpack.storage.clients.client import Client, Connection, RequestError
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.exact_buffer import ExactBuffer
from shardpack.storage.protocols import Ranges, Version
from shardpack.storage.retry_loop import RetryLoop
from shardpack.storage.session import RemoteLimits, Session

# A request costs tens of milliseconds, in which 64 KiB arrive many times over; but most bytes read must be
# wanted ones (below 1.1 fetched for one used), and the samples of a random batch lie far apart.
_MERGE_LIMITS = MergeLimits(max_gap_bytes=32 << 10, max_request_bytes=8 << 20)
_SPLIT_BYTES = 16 << 20  # longer ranges arrive sooner over several connections
_PIECE_BYTES = 8 << 20


class _Whole:
    """A range, or an object, and the buffer that it is received into; made when its length is certain."""

    def __init__(
        self,
        path: str,
        start: int,
        length: int | None,
        *,
        max_bytes: int | None = None,
        pool: BufferPool | None = None,
    ) -> None:
        self.path, self.start, self.length, self.max_bytes = path, start, length, max_bytes
        self.buffer: ExactBuffer | None = None
        self.pooled: PooledBuffer | None = None
        self._pool = pool

    def room(self, size: int) -> memoryview:
        """Return the buffer, now that the object's size is known.

        Raises:
            CorruptShardError: The range ends beyond the object, or the object is larger than allowed.
        """
        if self.pooled is not None:
            return self.pooled.view
        if self.buffer is None:
            if self.length is None:
                check_size(self.path, size, self.max_bytes)
                self.length = size
            if self.start + self.length > size:
                raise_truncated(self.path, self.start, self.length, size)
            if self._pool is not None and (pooled := self._pool.get(self.length)) is not None:
                self.pooled = pooled
                return pooled.view
            self.buffer = ExactBuffer(self.length)
        return self.buffer.view

    def take(self) -> bytes:
        return b"" if self.buffer is None else self.buffer.take()


class RemoteStore(BaseStore):
    """Objects of a bucket or server, below one folder. Safe in threads and after fork; pickles without secrets.

    The first response tells an object's length and ETag; every later one must be of the same
    version. A client and up to `max_requests` threads belong to each process that reads; the threads
    end with the store, or when it is closed.
    """

    merge_limits = _MERGE_LIMITS
    checks_reads = True
    remote = True
    prefetch_depth = 16  # of 4 MiB each, more than 10 Gbit/s bring in 50 ms

    def __init__(self, connection: Connection, limits: RemoteLimits | None = None) -> None:
        super().__init__(connection.location)
        self._connection, self._limits = connection, limits or RemoteLimits()
        self._versions: dict[str, Version] = {}
        self._session = Session(connection, self._limits)
        self._pool = BufferPool()
        self._requests = RetryLoop(connection, self._session, self._limits.retry, self.stats)

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
        """See `Store.get_many`. All at once, over all objects."""
        wholes = [
            [_Whole(ranges.path, start, length) for start, length in zip(ranges.starts, ranges.lengths, strict=True)]
            for ranges in wanted
        ]
        self._session.call_all(self._fetch, [piece for of in wholes for whole in of for piece in self._pieces(whole)])
        return [[whole.take() for whole in of] for of in wholes]

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """See `Store.get_pooled_range`. Received into memory that was used before."""
        whole = _Whole(path, start, length, pool=self._pool)
        self._session.call_all(self._fetch, self._pieces(whole))
        return whole.take() if whole.pooled is None else whole.pooled

    def size(self, path: str) -> int:
        """See `RangeReader.size`. One request, unless the object was read before."""
        return self.version(path).size

    def version(self, path: str) -> Version:
        """See `Store.version`. Costs as `size`."""
        version = self._versions.get(path)
        if version is None:
            version = self._requests.make(path, "ask for the length of", lambda client: client.head(path))
            version = self._versions.setdefault(path, version)
        return version

    def buffer(self, path: str, *, max_bytes: int | None = None) -> Any:
        """See `Store.buffer`. One request, given up when the response tells that the object is too long."""
        whole = _Whole(path, 0, None, max_bytes=max_bytes)
        self._fetch((whole, 0, None))
        return whole.take()

    def _pieces(self, whole: _Whole) -> list[tuple[_Whole, int, int]]:
        """Return a range, cut into what one request should carry: begin and length, counted from its start."""
        length = whole.length or 0
        if not length:
            return []
        if length <= _SPLIT_BYTES:
            return [(whole, 0, length)]
        whole.room(self.size(whole.path))
        return [(whole, at, min(_PIECE_BYTES, length - at)) for at in range(0, length, _PIECE_BYTES)]

    def _fetch(self, piece: tuple[_Whole, int, int | None]) -> None:
        """Receive a piece into the buffer of its whole."""
        whole, begin, length = piece
        start = whole.start + begin
        action = "read" if length is None else f"read bytes {start} to {start + length} of"
        with self._session.room(length):
            try:
                self._requests.receive(
                    whole.path, action, lambda client, got: self._receive(client, whole, begin, length, got)
                )
            except RequestError:  # it ends before the piece begins
                raise_truncated(whole.path, whole.start, whole.length or 0, self.size(whole.path))
        self.stats.add_requests(1, self._versions[whole.path].size if length is None else length)

    def _receive(self, client: Client, whole: _Whole, begin: int, length: int | None, got: int) -> Iterator[int]:
        """Yield how many bytes have come; raise RequestError unless all of the piece has."""
        path, known = whole.path, self._versions.get(whole.path)
        if length is None and known is not None and got and got == known.size:
            return
        start, left = whole.start + begin + got, None if length is None else length - got
        with closing(client.get(path, start=start, length=left, etag=known.etag if known else "")) as response:
            known = self._versions.setdefault(path, response.version)
            if response.version != known:
                raise RequestError("changed", f"expected {_described(known)}, got {_described(response.version)}")
            view = whole.room(known.size)
            end = len(view) if length is None else begin + length
            at = begin + got
            while at < end:
                count = response.readinto(view[at:end])
                if not count:
                    raise RequestError("failed", f"the connection ended {end - at} bytes too early")
                at += count
                yield count

    def close(self) -> None:
        """See `Store.close`."""
        self._session.close()
        self._pool.clear()

    # Writing

    @property
    def can_create(self) -> bool:
        """See `WritableStore.can_create`."""
        return self._session.client().can_create

    @property
    def part_bytes(self) -> int:  # type: ignore[override] # the client knows
        """See `WritableStore.part_bytes`."""
        return self._session.client().part_bytes

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """See `WritableStore.put`."""
        self._requests.make(path, "write", lambda client: client.put(path, source, cache_control=cache_control))
        self._versions.pop(path, None)

    def create(self, path: str, source: bytes | Path) -> None:
        """See `WritableStore.create`. Where an answer was lost, an object with the same bytes is ours."""
        attempts = 0

        def attempt(client: Client) -> None:
            nonlocal attempts
            attempts += 1
            client.create(path, source)

        self._versions.pop(path, None)
        try:
            self._requests.make(path, "create", attempt)
        except OutputExistsError:
            if attempts == 1 or self.buffer(path) != (source if isinstance(source, bytes) else source.read_bytes()):
                raise

    def delete(self, path: str) -> None:
        """See `WritableStore.delete`."""
        self._requests.make(path, "delete", lambda client: client.delete(path))
        self._versions.pop(path, None)

    def names(self) -> list[str]:
        """See `WritableStore.names`."""
        return sorted(self._requests.make("", "list", lambda client: client.names()))


def _described(version: Version) -> str:
    return f"{version.size} bytes with ETag {version.etag}" if version.etag else f"{version.size} bytes"
