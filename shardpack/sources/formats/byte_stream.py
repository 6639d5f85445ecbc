"""Bytes of a file in order: by ranges of a store, inflated on the way if the whole file is compressed.

Formats read records with `ByteStream`; what is taken at once is bounded by what is really there.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from shardpack.errors import SourceError
from shardpack.storage.protocols import Store

READ_BYTES = 1 << 20  # larger pieces leave the cache of a core before they are used
REMOTE_BYTES = 16 << 20  # a request takes long, whatever it asks for
_PIECE_BYTES, _AHEAD_BYTES = 256 << 10, 4 << 10  # of a file on disk; behind a long run: the header of the next
MAX_INFLATED_RECORD = 256 << 20  # of what a compressed stream holds, no length can be checked against a file's

Pieces = Iterator[bytes]


def read_pieces(
    store: Store, name: str, start: int = 0, stop: int | None = None, *, read_bytes: int = READ_BYTES
) -> Pieces:
    """Yield the bytes `start <= i < stop` of a file in pieces, which are larger if the file is remote."""
    if store.remote:
        read_bytes = max(read_bytes, REMOTE_BYTES)
    end = store.size(name) if stop is None else stop
    for first in range(start, end, read_bytes):
        yield bytes(store.get_range(name, start=first, length=min(read_bytes, end - first)))


def inflate(pieces: Pieces, *, name: str, codec: str, piece_bytes: int = READ_BYTES) -> Pieces:
    """Yield what compressed pieces hold, at most `piece_bytes` at once.

    Args:
        pieces: The compressed file.
        name: Its name, for messages.
        codec: "gzip", of which members may follow one another, "zlib", or "deflate" without anything around it.
        piece_bytes: How much is inflated at once.

    Raises:
        SourceError: The stream is damaged or cut short.
    """
    window = {"gzip": zlib.MAX_WBITS | 16, "zlib": zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}[codec]
    inflater, ended = zlib.decompressobj(window), True
    try:
        for piece in pieces:
            waiting = piece
            while waiting:
                if ended and codec == "gzip" and not waiting.strip(b"\0"):
                    break  # tools fill up blocks with zeros
                if inflater.eof:
                    if codec != "gzip":
                        raise SourceError(f"{len(waiting)} bytes follow the end of the {codec} stream", path=name)
                    inflater = zlib.decompressobj(window)
                data = inflater.decompress(waiting, piece_bytes)
                ended, waiting = inflater.eof, inflater.unused_data or inflater.unconsumed_tail
                if data:
                    yield data
    except zlib.error as error:
        raise SourceError(f"damaged {codec} stream: {error}; copy the file again", path=name) from error
    if not ended:
        raise SourceError(f"the {codec} stream is cut short; copy the file again", path=name)


class ByteStream:
    """Takes runs of bytes from pieces, in order.

    Attributes:
        offset: Offset of the next byte, in the stream.
    """

    def __init__(self, pieces: Pieces, *, name: str, start: int = 0, num_bytes: int | None = None) -> None:
        """Read pieces.

        Args:
            pieces: The bytes.
            name: Name of the file, for messages.
            start: Offset of the first byte.
            num_bytes: How many there are, if that is known: no more memory is taken than that.
        """
        self.offset = start
        self._pieces, self._name = pieces, name
        self._end = None if num_bytes is None else start + num_bytes
        self._piece, self._at = memoryview(b""), 0

    def at_end(self) -> bool:
        """Return whether no byte follows."""
        return not self._fill()

    def take_padding(self, length: int) -> None:
        """Pass over the next `length` bytes, or as many as there are."""
        while length and self._fill():
            passed = min(length, len(self._piece) - self._at)
            self._at += passed
            self.offset += passed
            length -= passed

    def take(self, length: int, what: str) -> memoryview:
        """Return the next `length` bytes; they stay valid.

        Raises:
            SourceError: Fewer are there, or it is more than a record may have; names `what`.
        """
        most = MAX_INFLATED_RECORD if self._end is None else self._end - self.offset
        if length > most:
            raise SourceError(
                f"{what} would take {length} bytes, and at most {most} may follow; the file is damaged or cut short",
                path=self._name,
                offset=self.offset,
            )
        if self._at + length <= len(self._piece):
            found = self._piece[self._at : self._at + length]
            self._at += length
        else:
            found = memoryview(self._join(length, what))
        self.offset += length
        return found

    def _join(self, length: int, what: str) -> bytes | memoryview:
        parts: list[memoryview] = []
        missing = length
        while missing:
            if not self._fill():
                raise SourceError(
                    f"{what} is cut short: expected {length} bytes, got {length - missing}; copy the file again",
                    path=self._name,
                    offset=self.offset,
                )
            part = self._piece[self._at : self._at + missing]
            parts.append(part)
            self._at += len(part)
            missing -= len(part)
        return b"".join(parts)

    def _fill(self) -> bool:
        """Return whether the current piece has bytes left, after taking the next one if it has none."""
        while self._at == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece, self._at = memoryview(piece), 0
        return True


class RangeStream(ByteStream):
    """Takes runs of bytes from a range of a file that is not compressed, without joining pieces.

    What is not whole in the piece at hand is read again, from its start: copying it would take longer.
    """

    def __init__(self, store: Store, name: str, start: int, stop: int) -> None:
        """Read the bytes `start <= i < stop` of a file."""
        super().__init__(iter(()), name=name, start=start, num_bytes=stop - start)
        self._store, self._stop = store, stop
        self._read_bytes = REMOTE_BYTES if store.remote else _PIECE_BYTES

    def _join(self, length: int, what: str) -> memoryview:  # noqa: ARG002 - `take` has checked that it is there
        self._read(max(length + _AHEAD_BYTES, self._read_bytes))
        self._at = length
        return self._piece[:length]

    def _fill(self) -> bool:
        if self._at == len(self._piece) and self.offset < self._stop:
            self._read(self._read_bytes)
        return self._at < len(self._piece)

    def _read(self, length: int) -> None:
        data = self._store.get_range(self._name, start=self.offset, length=min(length, self._stop - self.offset))
        self._piece, self._at = memoryview(data), 0
