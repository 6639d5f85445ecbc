"""A bucket or server as a store: many concurrent requests, retries, and one pinned version of each object.

    get_many --split--> pieces --threads--> requests, each resumed at the byte reached --> one buffer per range

How a single request is made is decided by the client (`clients/`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from shardpack.errors import OutputExistsError
from shardpack.storage.base_store import BaseStore, check_size, raise_truncated
from shardpack.storage.buffer_pool import BufferPool, ExactBuffer, PooledBuffer
from shardpack.storage.clients.client import Client, Connection, RequestError
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.protocols import Listed, Ranges, Version
from shardpack.storage.session import RemoteLimits, Session

# A request costs tens of milliseconds, in which 64 KiB arrive many times over. But most bytes read must be wanted ones
# (below 1.1 fetched for one used), and the samples of a random batch are far apart.
_MERGE_LIMITS = MergeLimits(max_gap_bytes=32 << 10, max_request_bytes=8 << 20)
_SPLIT_BYTES = 16 << 20  # longer ranges arrive sooner over several connections
_PIECE_BYTES = 8 << 20


class _IncomingRange:
    """A range or a whole object, and the buffer that receives it; allocated once the object's size is known."""

    def __init__(
        self,
        path: str,
        start: int,
        length: int | None,
        *,
        max_bytes: int | None = None,
        pool: BufferPool | None = None,
    ) -> None:
        self.path, self.start, self.length = path, start, length
        self._max_bytes, self._pool = max_bytes, pool
        self._buffer: ExactBuffer | PooledBuffer | None = None

    def view(self, object_bytes: int) -> memoryview:
        """Return the buffer, given the size of the object.

        Raises:
            CorruptShardError: The range ends beyond the object.
            ObjectTooLargeError: The object is larger than allowed.
        """
        if self._buffer is None:
            if self.length is None:
                check_size(self.path, object_bytes, self._max_bytes)
                self.length = object_bytes
            if self.start + self.length > object_bytes:
                raise_truncated(self.path, self.start, self.length, object_bytes)
            pooled = None if self._pool is None else self._pool.get(self.length)
            self._buffer = ExactBuffer(self.length) if pooled is None else pooled
        return self._buffer.view

    def result(self) -> Any:
        """Return the bytes received, or the pooled buffer that holds them."""
        if self._buffer is None:
            return b""
        return self._buffer.finish() if isinstance(self._buffer, ExactBuffer) else self._buffer


class _Piece(NamedTuple):
    """What one request fetches: `length` bytes from `begin`, counted from the start of the range; None: all of it."""

    range: _IncomingRange
    begin: int
    length: int | None


class RemoteStore(BaseStore):
    """Objects below one folder of a bucket or server. Safe in threads and after fork; pickles without secrets.

    The first response brings an object's length and ETag; all later ones must be of that version. Each process that
    reads has its own client and up to `max_requests` threads, which end with the store or when it is closed.
    """

    merge_limits = _MERGE_LIMITS
    checks_reads = True
    remote = True
    prefetch_depth = 16  # requests of 4 MiB: more than a link of 10 Gbit/s brings in 50 ms

    def __init__(self, connection: Connection, limits: RemoteLimits | None = None) -> None:
        super().__init__(connection.location)
        self._connection, self._limits = connection, limits or RemoteLimits()
        self._versions: dict[str, Version] = {}
        self._session = Session(connection, self._limits, self.stats)
        self._pool = BufferPool()

    def __reduce__(self) -> tuple[type[RemoteStore], tuple[Connection, RemoteLimits]]:
        return (RemoteStore, (self._connection, self._limits))

    # Reading

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a range. Costs one request, made in this thread; several for a range over 16 MiB."""
        return self.get_many([Ranges(path, [start], [length])])[0][0]

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return the ranges, read concurrently."""
        return self.get_many([Ranges(path, starts, lengths)])[0]

    def get_many(self, wanted: Sequence[Ranges]) -> list[list[bytes]]:
        """Return the ranges of all objects, read concurrently."""
        incoming = [
            [_IncomingRange(ranges.path, start, n) for start, n in zip(ranges.starts, ranges.lengths, strict=True)]
            for ranges in wanted
        ]
        pieces = [piece for of_object in incoming for one in of_object for piece in self._pieces(one)]
        self._session.call_all(self._fetch, pieces)
        return [[one.result() for one in of_object] for of_object in incoming]

    def get_pooled_range(self, path: str, *, start: int, length: int) -> bytes | PooledBuffer:
        """Return a range, received into memory that was used before."""
        incoming = _IncomingRange(path, start, length, pool=self._pool)
        self._session.call_all(self._fetch, self._pieces(incoming))
        received: bytes | PooledBuffer = incoming.result()
        return received

    def size(self, path: str) -> int:
        """Return an object's length. Costs one request, unless the object was read before."""
        return self.version(path).size

    def version(self, path: str) -> Version:
        """Return an object's version. Costs one request, unless the object was read before."""
        version = self._versions.get(path)
        if version is None:
            version = self._session.call(path, "ask for the length of", lambda client: client.head(path))
            version = self._versions.setdefault(path, version)
        return version

    def get(self, path: str, *, max_bytes: int | None = None) -> Any:
        """Return a whole object. Costs one request, abandoned if the response says that the object is too long."""
        incoming = _IncomingRange(path, 0, None, max_bytes=max_bytes)
        self._fetch(_Piece(incoming, 0, None))
        return incoming.result()

    def _pieces(self, incoming: _IncomingRange) -> list[_Piece]:
        """Return the pieces of a range, one per request."""
        length = incoming.length or 0
        if not length:
            return []
        if length <= _SPLIT_BYTES:
            return [_Piece(incoming, 0, length)]
        incoming.view(self.size(incoming.path))
        return [_Piece(incoming, at, min(_PIECE_BYTES, length - at)) for at in range(0, length, _PIECE_BYTES)]

    def _fetch(self, piece: _Piece) -> None:
        """Receive a piece into the buffer of its range."""
        incoming, begin, length = piece
        start = incoming.start + begin
        action = "read" if length is None else f"read bytes {start} to {start + length} of"
        with self._session.request_limit(length):
            try:
                self._session.receive(incoming.path, action, lambda client, got: self._receive(client, piece, got))
            except RequestError:  # the object ends before the piece begins
                raise_truncated(incoming.path, incoming.start, incoming.length or 0, self.size(incoming.path))
        self.stats.add_requests(1, (incoming.length or 0) if length is None else length)

    def _receive(self, client: Client, piece: _Piece, got: int) -> Iterator[int]:
        """Make one request for the rest of a piece, after its first `got` bytes; yield the sizes that arrive.

        Raises:
            RequestError: The request failed, or brought less.
        """
        incoming, begin, length = piece
        path, known = incoming.path, self._versions.get(incoming.path)
        if length is None and known is not None and got and got == known.size:
            return
        start, left = incoming.start + begin + got, None if length is None else length - got
        with closing(client.get(path, start=start, length=left, etag=known.etag if known else "")) as response:
            known = self._versions.setdefault(path, response.version)
            if response.version != known:
                raise RequestError("changed", f"expected {_described(known)}, got {_described(response.version)}")
            view = incoming.view(known.size)
            end = len(view) if length is None else begin + length
            at = begin + got
            while at < end:
                count = response.readinto(view[at:end])
                if not count:
                    raise RequestError("failed", f"the connection ended {end - at} bytes too early")
                at += count
                yield count

    def close(self) -> None:
        self._session.close()
        self._pool.clear()

    # Writing

    @property
    def can_create(self) -> bool:
        """Whether the client offers `create`."""
        return self._session.client().can_create

    @property
    def part_bytes(self) -> int:  # type: ignore[override] # the client knows
        """Size of the parts in which the client uploads long files."""
        return self._session.client().part_bytes

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        self._session.call(path, "write", lambda client: client.put(path, source, cache_control=cache_control))
        self._versions.pop(path, None)

    def create(self, path: str, source: bytes | Path) -> None:
        """Create an object. After a lost answer, an existing object with the same bytes counts as ours."""
        attempts = 0

        def attempt(client: Client) -> None:
            nonlocal attempts
            attempts += 1
            client.create(path, source)

        self._versions.pop(path, None)
        try:
            self._session.call(path, "create", attempt)
        except OutputExistsError:
            if attempts == 1 or self.get(path) != (source if isinstance(source, bytes) else source.read_bytes()):
                raise

    def forget(self, path: str) -> None:
        """Forget the version of an object that another process may have replaced: the next read takes what is there."""
        self._versions.pop(path, None)

    def delete(self, path: str) -> None:
        self._session.call(path, "delete", lambda client: client.delete(path))
        self._versions.pop(path, None)

    def names(self) -> list[str]:
        return self.names_below("")

    def listing(self) -> list[Listed]:
        """Return all objects, sorted by name, with length and time where the client knows them."""
        return sorted(self._session.call("", "list", lambda client: client.listing()))

    def names_below(self, folder: str) -> list[str]:
        """Return the names of all objects in a folder, sorted; "" for all of the store."""
        return sorted(self._session.call(folder, "list", lambda client: client.names(folder)))


def _described(version: Version) -> str:
    return f"{version.size} bytes with ETag {version.etag}" if version.etag else f"{version.size} bytes"
