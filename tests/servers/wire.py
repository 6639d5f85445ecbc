"""Just enough HTTP/1.1 for a proxy: connections as queues of chunks, heads, framed bodies (RFC 9112).

Rules of this file: nothing here knows of faults, latency or logs. Chunks are handed on as they arrived, never joined
or copied, which is what makes a proxy in plain Python carry hundreds of megabytes a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable

READ_AHEAD = 1 << 20  # bytes a connection may queue before it stops reading
MAX_HEAD = 1 << 18


class Wire(asyncio.Protocol):
    """One TCP connection; `read` gives what arrived, `send` waits while the other side is slow."""

    def __init__(self, connected: Callable[[Wire], None] | None = None):
        loop = asyncio.get_running_loop()
        self._connected = connected
        self._chunks: deque[bytes] = deque()
        self._queued = 0
        self._paused = False
        self._arrived: asyncio.Future[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.eof = False
        self.gone = loop.create_future()  # done once the other side has hung up
        self.lost = loop.create_future()  # done once the socket is closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=READ_AHEAD)
        if self._connected:
            self._connected(self)

    def data_received(self, data: bytes) -> None:
        self._chunks.append(data)
        self._queued += len(data)
        if self._queued >= READ_AHEAD and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        self._hung_up()
        return True  # it may still want its answer

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._hung_up()
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _hung_up(self) -> None:
        self.eof = True
        if not self.gone.done():
            self.gone.set_result(None)
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def read(self) -> bytes:
        """Return the next chunk as it arrived; b"" at the end."""
        while not self._chunks:
            if self.eof:
                return b""
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        chunk = self._chunks.popleft()
        self._queued -= len(chunk)
        if self._paused and self._queued < READ_AHEAD // 2:
            self._paused = False
            if not self.lost.done():
                self.transport.resume_reading()
        return chunk

    def unread(self, data: bytes) -> None:
        if data:
            self._chunks.appendleft(data)
            self._queued += len(data)

    async def read_until(self, end: bytes) -> bytes:
        """Return all up to and with `end`; b"" if the connection ends before its first byte."""
        data = await self.read()
        while (found := data.find(end)) < 0:
            more = await self.read()
            if not more and data:
                raise ConnectionResetError("the connection ended inside a head")
            if not more or len(data) > MAX_HEAD:
                return b""
            data += more
        found += len(end)
        self.unread(data[found:])
        return data[:found]

    def write(self, data: bytes | memoryview) -> None:
        if self.lost.done():
            raise ConnectionResetError("the other side hung up")
        self.transport.write(data)

    async def send(self, data: bytes | memoryview) -> None:
        self.write(data)
        if not self._writable.is_set():
            await self._writable.wait()

    def close(self) -> None:
        """Send what is left, then FIN."""
        self.transport.close()

    async def reset(self) -> None:
        """Let the kernel deliver what was sent, then answer with RST instead of FIN."""
        sock = self.transport.get_extra_info("socket")
        for _ in range(6000):  # a minute; a client that does not read cannot be waited for
            if self.lost.done() or not (self.transport.get_write_buffer_size() or _unsent(sock)):
                break
            await asyncio.sleep(0.01)
        if not self.lost.done():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


def _unsent(sock: socket.socket) -> int:
    """Return the bytes the other side's kernel has not acknowledged; 0 where the system does not tell."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl
        import termios

        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
        return int(struct.unpack("i", answer)[0])
    return 0


class Head:
    """The first line of a request or an answer, and its headers in their order."""

    def __init__(self, first: str, headers: list[tuple[str, str]]):
        self.first = first
        self.headers = headers

    @classmethod
    def parse(cls, raw: bytes) -> Head:
        first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
        return cls(first, [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])

    def encode(self) -> bytes:
        lines = [self.first, *(f"{name}: {value}" for name, value in self.headers), "\r\n"]
        return "\r\n".join(lines).encode("latin-1")

    def get(self, name: str) -> str | None:
        name = name.lower()
        return next((value for known, value in self.headers if known.lower() == name), None)

    def set(self, name: str, value: str | None) -> None:
        """Replace a header where it stands, add it, or remove it (None)."""
        lower = name.lower()
        at = [i for i, (known, _) in enumerate(self.headers) if known.lower() == lower]
        for i in reversed(at):
            del self.headers[i]
        if value is not None:
            self.headers.insert(at[0] if at else len(self.headers), (name, value))

    @property
    def length(self) -> int | None:
        value = self.get("content-length")
        return None if value is None else int(value)

    @property
    def chunked(self) -> bool:
        return "chunked" in (self.get("transfer-encoding") or "").lower()

    @property
    def closes(self) -> bool:
        return "close" in (self.get("connection") or "").lower() or "HTTP/1.0" in self.first


async def read_head(wire: Wire) -> Head | None:
    """Return the next head; None at the end of the connection."""
    raw = await wire.read_until(b"\r\n\r\n")
    return Head.parse(raw) if raw else None


async def read_answer(upstream: Wire) -> Head:
    """Return the head of the answer, without the informational ones before it."""
    while (answer := await read_head(upstream)) is not None:
        if not answer.first.split(" ", 2)[1].startswith("1"):
            return answer
    raise ConnectionResetError("the server closed the connection without an answer")


async def read_body(wire: Wire, length: int | None, *, chunked: bool = False) -> AsyncIterator[bytes]:
    """Give a body's bytes in the pieces they came in; `length` None means until the connection ends."""
    if chunked:
        while size := int((await wire.read_until(b"\r\n")).split(b";")[0] or b"0", 16):
            async for piece in read_body(wire, size):
                yield piece
            await wire.read_until(b"\r\n")
        while (await wire.read_until(b"\r\n")).strip():
            pass  # trailers
        return
    while length is None or length > 0:
        piece = await wire.read()
        if not piece:
            if length is None:
                return
            raise ConnectionResetError("the connection ended inside a body")
        if length is not None:
            if len(piece) > length:
                wire.unread(piece[length:])
                piece = piece[:length]
            length -= len(piece)
        yield piece


def has_body(method: str, answer: Head) -> bool:
    return method != "HEAD" and answer.first.split(" ", 2)[1] not in {"204", "304"}


def read_answer_body(wire: Wire, method: str, answer: Head) -> AsyncIterator[bytes]:
    if has_body(method, answer):
        return read_body(wire, answer.length, chunked=answer.chunked)
    return read_body(wire, 0)
