"""A reverse proxy that adds latency, limits bandwidth, injects faults and logs every request.

    client --> Wire --> _serve --> _exchange --> Wire --> upstream
                 ^                    |
                 +---- _relay <-------+   (paced, cut, corrupted ... by one Fault)

It passes Host, path and every header of the request through, so that signed requests stay valid. One event loop in
a thread of its own: `with Proxy(upstream) as proxy`. `proxy_process.py` has the same in another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.servers.faults import Fault, Gathering, Request, parse_range, rewrite, spoiled
from tests.servers.process import hold_port
from tests.servers.wire import Head, Wire, has_body, read_answer, read_answer_body, read_body, read_head

CONTROL = "/.proxy/"  # GET /.proxy/stats, /.proxy/clear, /.proxy/settle
SLICE = 1 << 16  # bytes sent at a time where the bandwidth is limited
MAX_IDLE = 32  # connections to the server that are kept
BURST_SECONDS = 0.005  # what a limit may catch up: timers are this coarse


class Pace:
    """A virtual clock of one direction: when the bytes so far would be through."""

    def __init__(self) -> None:
        self.free_at = 0.0

    def book(self, size: int, bandwidth: float | None, now: float) -> float:
        """Return the time at which `size` more bytes may be through."""
        if not bandwidth:
            return now
        self.free_at = max(self.free_at, now - BURST_SECONDS) + size / bandwidth
        return self.free_at


class Proxy:
    """See the module. The options are attributes that may change while it runs.

    latency_seconds is added to every request before the server sees it, connect_latency_seconds once to every
    connection. Bandwidths are bytes per second of bodies, each direction by itself: `bandwidth` for all
    connections together, `connection_bandwidth` for each. `sleep` does the waiting of all of these, for tests that ask
    how long. `gatherings` hold requests until enough of them are there.
    """

    def __init__(
        self,
        upstream: str,
        *,
        port: int = 0,
        latency_seconds: float = 0.0,
        connect_latency_seconds: float = 0.0,
        bandwidth: float | None = None,
        connection_bandwidth: float | None = None,
        keep_log: bool = True,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ):
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._port = port
        self.latency_seconds = latency_seconds
        self.connect_latency_seconds = connect_latency_seconds
        self.bandwidth = bandwidth
        self.connection_bandwidth = connection_bandwidth
        self.keep_log = keep_log
        self.sleep = sleep
        self.gatherings: list[Gathering] = []
        self.faults: list[Fault] = []  # the first that matches strikes; it leaves the list after `times`
        self._lock = threading.Lock()
        self._up, self._down = Pace(), Pace()
        self._paces: dict[Wire, tuple[Pace, Pace]] = {}
        self._idle: list[Wire] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._flying: set[int] = set()  # ids of the requests in flight
        self.clear()

    def clear(self) -> None:
        """Forget the log, the counts and the faults that have not struck."""
        self.requests: list[Request] = []
        self.num_requests = self.num_bytes = self.num_connections = 0
        self.max_in_flight = self.in_flight
        self.faults.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def in_flight(self) -> int:
        return len(self._flying)

    def stats(self) -> dict[str, int]:
        names = ("num_requests", "num_bytes", "num_connections", "max_in_flight", "in_flight")
        return {name: getattr(self, name) for name in names}

    # -- its thread ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Proxy:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        try:
            self._call(self._listen())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._call(self._stop())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    async def _listen(self) -> None:
        self._server = await self._loop.create_server(
            lambda: Wire(self._accept), "127.0.0.1", self._port, backlog=1024, reuse_address=True
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._drop()

    async def _drop(self) -> None:
        wires = [*self._paces, *self._idle]
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for wire in wires:
            wire.transport.abort()
        await asyncio.gather(*(wire.lost for wire in wires))
        self._idle.clear()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """While inside, connections are refused; those there were are cut."""
        self._call(self._stop())
        try:
            with hold_port(self._port):  # nobody else's meanwhile
                yield
        finally:
            self._call(self._listen())

    def settle(self) -> None:
        """Return once all clients have hung up, and the server has done what they had asked for: after a kill."""
        urllib.request.urlopen(f"{self.url}{CONTROL}settle").close()

    # -- one connection -----------------------------------------------------------------------------------------

    def _accept(self, client: Wire) -> None:
        self.num_connections += 1
        self._paces[client] = (Pace(), Pace())
        client.lost.add_done_callback(lambda _: self._paces.pop(client))
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Wire) -> None:
        try:
            if self.connect_latency_seconds:
                await self.sleep(self.connect_latency_seconds)
            while (head := await read_head(client)) is not None and await self._answer(client, head):
                pass
            client.close()
        except (ConnectionError, ValueError):  # ValueError: no HTTP
            client.transport.abort()

    async def _answer(self, client: Wire, head: Head) -> bool:
        """Answer one request; return whether the connection stays open."""
        method, path, _ = head.first.split(" ", 2)
        if path.startswith(CONTROL):
            return await self._control(client, path)
        headers = {name.lower(): value for name, value in head.headers}
        ranged = parse_range(headers.get("range") or headers.get("x-ms-range"))
        request = Request(method, path, ranged, headers, time.monotonic())
        fault = self._strike(request)
        if self.keep_log:
            self.requests.append(request)
        self.num_requests += 1
        self._flying.add(id(request))
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        try:
            return await self._exchange(client, head, request, fault)
        finally:
            self._landed(request)

    def _landed(self, request: Request) -> None:
        """Called before the last byte goes out: who has it must not find the request still in flight."""
        self._flying.discard(id(request))

    async def _control(self, client: Wire, path: str) -> bool:
        if path == CONTROL + "clear":
            self.clear()
        if path == CONTROL + "settle" and (others := [one for one in self._tasks if one is not asyncio.current_task()]):
            await asyncio.wait(others)
        body = json.dumps(self.stats()).encode()
        await client.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        return True

    def _strike(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if not fault.matches(request):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                request.fault = fault.kind
                return fault
        return None

    # -- one request --------------------------------------------------------------------------------------------

    async def _exchange(self, client: Wire, head: Head, request: Request, fault: Fault | None) -> bool:
        keep = not head.closes
        if head.get("expect"):
            head.set("Expect", None)
            await client.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = read_body(client, head.length or 0, chunked=head.chunked)
        if self.latency_seconds:
            await self.sleep(self.latency_seconds)
        for gathering in self.gatherings:
            await gathering.join(request.path)
        if fault and fault.before_head and fault.kind != "stall":
            return await self._instead(client, head, body, request, fault) and keep
        stalls = fault if fault and fault.before_head else None
        if stalls and not stalls.served and not await self._interrupt(client, stalls):
            return False
        if fault and fault.kind == "ignore-range":
            head.set("Range", None)
        try:
            upstream, answer = await self._forward(client, head, body)
        except ConnectionError as error:
            await self._make_up(client, request, Fault("status", status=502, body=str(error).encode()))
            return False
        whole = False
        try:
            if stalls and stalls.served and not await self._interrupt(client, stalls):
                return False
            whole = await self._relay(
                client, read_answer_body(upstream, request.method, answer), answer, request, fault
            )
        finally:
            if whole:
                self._done(upstream, request, answer)
            else:
                upstream.transport.abort()
        return keep and whole and not (fault and fault.kind == "length")

    async def _instead(
        self, client: Wire, head: Head, body: AsyncIterator[bytes], request: Request, fault: Fault
    ) -> bool:
        """Let the server answer nobody, or not know of the request at all; return whether the connection stays open."""
        if fault.served:
            upstream, answer = await self._forward(client, head, body)
            async for _ in read_answer_body(upstream, request.method, answer):
                pass
            self._done(upstream, request, answer)
        else:
            async for _ in body:
                pass
        if fault.kind != "status":
            return await self._interrupt(client, fault)
        await self._make_up(client, request, fault)
        return True

    async def _make_up(self, client: Wire, request: Request, fault: Fault) -> None:
        body = fault.answer
        headers = {"Content-Type": "application/xml", "Content-Length": str(len(body)), **fault.headers}
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        head = Head(f"HTTP/1.1 {fault.status} Made-Up", [(n, v) for n, v in headers.items() if v is not None])
        request.status = fault.status
        if request.method == "HEAD" or fault.status in {204, 304}:
            body = b""
        request.bytes_sent = len(body)
        self._landed(request)
        await client.send(head.encode() + body)

    async def _interrupt(self, client: Wire, fault: Fault) -> bool:
        """Do what the fault does at its point of the answer; return whether the answer goes on."""
        if fault.kind == "stall":
            await asyncio.wait([client.gone], timeout=fault.seconds)
            return not client.gone.done()
        if fault.kind == "reset":
            await client.reset()
        else:
            client.close()
        return False

    async def _forward(self, client: Wire, head: Head, body: AsyncIterator[bytes]) -> tuple[Wire, Head]:
        """Send the request on; return the connection and the head of the answer."""
        uploads = head.chunked or bool(head.length)
        for name in ("Connection", "Keep-Alive", "Proxy-Connection"):
            head.set(name, None)
        while True:
            upstream = None if uploads else self._reused()
            reused = upstream is not None
            if upstream is None:
                _, upstream = await self._loop.create_connection(Wire, *self._upstream)
            try:
                await upstream.send(head.encode())
                async for piece in body:
                    await self._paced(client, 0, piece)
                    await upstream.send(b"%x\r\n%b\r\n" % (len(piece), piece) if head.chunked else piece)
                if head.chunked:
                    await upstream.send(b"0\r\n\r\n")
                return upstream, await read_answer(upstream)
            except BaseException as error:
                upstream.transport.abort()
                if not (reused and isinstance(error, ConnectionError)):
                    raise

    def _reused(self) -> Wire | None:
        while self._idle:
            wire = self._idle.pop()
            if not wire.eof:
                return wire
            wire.transport.abort()
        return None

    def _done(self, upstream: Wire, request: Request, answer: Head) -> None:
        framed = answer.chunked or answer.length is not None or not has_body(request.method, answer)
        # Uploads take new connections and leave them here: a server takes so many and no more (waitress: 100).
        if answer.closes or upstream.eof or not framed or len(self._idle) >= MAX_IDLE:
            upstream.transport.abort()
        else:
            self._idle.append(upstream)

    async def _relay(
        self, client: Wire, body: AsyncIterator[bytes], answer: Head, request: Request, fault: Fault | None
    ) -> bool:
        """Send the answer on, as the fault wants it; return whether it is whole."""
        total = answer.length
        chunked = _prepare(answer, request, fault)
        if fault and fault.kind == "short":
            total = answer.length
        if total == 0 or not has_body(request.method, answer):
            self._landed(request)
        await client.send(answer.encode())
        at = fault.after_bytes if fault and fault.kind in {"reset", "truncate", "stall"} else None
        async for piece in spoiled(body, fault):
            rest = piece
            if fault and at is not None and request.bytes_sent + len(piece) > at:
                cut, at = at - request.bytes_sent, None
                if cut:
                    await self._send(client, piece[:cut], request, total)
                if not await self._interrupt(client, fault):
                    return False
                rest = piece[cut:]
            await self._send(client, rest, request, total)
        if chunked:
            self._landed(request)
            await client.send(b"0\r\n\r\n")
        return True

    async def _send(self, client: Wire, piece: bytes, request: Request, total: int | None) -> None:
        """Send a piece of a body of `total` bytes; None: in an HTTP chunk."""
        request.bytes_sent += len(piece)
        self.num_bytes += len(piece)
        if total is None:
            await self._paced(client, 1, piece)
            await client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            return
        view = memoryview(piece)
        step = SLICE if self.bandwidth or self.connection_bandwidth else len(piece)
        for start in range(0, len(piece), step):
            await self._paced(client, 1, view[start : start + step])
            if start + step >= len(piece) and request.bytes_sent >= total:
                self._landed(request)
            await client.send(view[start : start + step])

    async def _paced(self, client: Wire, direction: int, piece: bytes | memoryview) -> None:
        if not (self.bandwidth or self.connection_bandwidth):
            return
        now = self._loop.time()
        together = (self._up, self._down)[direction].book(len(piece), self.bandwidth, now)
        alone = self._paces[client][direction].book(len(piece), self.connection_bandwidth, now)
        if (delay := max(together, alone) - now) > 0:
            await self.sleep(delay)


def _prepare(answer: Head, request: Request, fault: Fault | None) -> bool:
    """Make the server's head the client's, as the fault wants it; return whether the body goes out in HTTP chunks."""
    request.status = int(answer.first.split(" ", 2)[1])
    chunked = answer.length is None and has_body(request.method, answer)
    for name in ("Connection", "Keep-Alive", "Transfer-Encoding"):
        answer.set(name, None)
    if chunked:
        answer.set("Transfer-Encoding", "chunked")
    if fault:
        rewrite(answer, fault)
    return chunked
