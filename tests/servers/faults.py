"""What can go wrong between a client and a bucket, as values; `proxy.py` does it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.servers.wire import Head

KINDS = {
    "status": "answer `status` (default 503) with `retry_after`, `headers` and `body`; the server never hears of it",
    "reset": "RST after `after_bytes` of the body; None: before the head",
    "truncate": "FIN after `after_bytes` of the body, short of the declared length; None: before the head",
    "stall": "silence for `seconds` after `after_bytes` of the body, then go on; None: before the head",
    "short": "body and Content-Length both end after `after_bytes`: a well-formed answer with too little in it",
    "length": "Content-Length declared wrong by `delta`, everything sent, then FIN",
    "content-range": "Content-Range moved by `delta`, the bytes left as they are",
    "ignore-range": "the Range header dropped: 200 with the whole object (403 from Azurite, which signs it)",
    "etag": "ETag rewritten to `value`: the object seems to have changed",
    "headers": "headers of the answer set, or removed where the value is None",
    "corrupt": "the byte at `after_bytes` of the body flipped",
}
CODES = {
    403: "AccessDenied",
    404: "NoSuchKey",
    412: "PreconditionFailed",
    416: "InvalidRange",
    429: "TooManyRequests",
    500: "InternalError",
    503: "SlowDown",
}


@dataclass
class Request:
    """One request as the proxy saw it; the last fields grow while it is answered."""

    method: str
    path: str  # with its query, as sent
    range: tuple[int, int | None] | None  # start, length (None: to the end); a suffix range has a negative start
    headers: dict[str, str]  # names in lower case
    time: float  # seconds, monotonic
    status: int | None = None  # None: no head was sent
    bytes_sent: int = 0  # of the body
    fault: str | None = None


@dataclass
class Fault:
    """One thing to go wrong `times` times (None: always) with the requests it matches; see KINDS.

    Requests are matched by a part of their path and query, their method and a predicate; the first `skip` of them pass.
    A body that ends before `after_bytes` is sent whole. `status` may be any, a redirect with a Location too.
    """

    kind: str
    times: int | None = 1
    match: str = ""
    method: str | None = None
    when: Callable[[Request], bool] | None = None
    skip: int = 0
    after_bytes: int | None = None
    status: int = 503
    retry_after: str | int | None = None
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    seconds: float = 3600.0
    delta: int = 1
    value: str = '"changed"'
    served: bool = False  # the server does the request all the same, and only its answer is lost

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; known are {', '.join(KINDS)}")
        if self.kind in {"corrupt", "short"} and self.after_bytes is None:
            self.after_bytes = 0

    def matches(self, request: Request) -> bool:
        return (
            self.match in request.path
            and self.method in {None, request.method}
            and (self.when is None or self.when(request))
        )

    @property
    def before_head(self) -> bool:
        """Whether it strikes before anything of the answer is sent."""
        return self.kind == "status" or (self.kind in {"reset", "truncate", "stall"} and self.after_bytes is None)

    @property
    def answer(self) -> bytes:
        """The body of a made-up answer: what S3 would say, unless given."""
        if self.body is not None:
            return self.body
        code = CODES.get(self.status, "InternalError")
        return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>made by the proxy</Message></Error>'.encode()


class Gathering:
    """Requests with `match` in their path wait until `count` of them are there; later ones wait for nobody."""

    def __init__(self, match: str, count: int) -> None:
        self.match, self.count = match, count
        self.complete = asyncio.Event()
        self._waiting = 0

    async def join(self, path: str) -> None:
        """Wait for the others, if it is for this path; a minute at most."""
        if self.match not in path:
            return
        self._waiting += 1
        if self._waiting == self.count:
            self.complete.set()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.complete.wait(), 60)


def parse_range(value: str | None) -> tuple[int, int | None] | None:
    """Return (start, length) of a Range header with one range; the length is None if open."""
    if value is None or not value.startswith("bytes=") or "," in value:
        return None
    first, _, last = value[len("bytes=") :].partition("-")
    if not first:
        return -int(last), int(last)
    return int(first), int(last) - int(first) + 1 if last else None


def shifted(content_range: str, delta: int) -> str:
    """Return a Content-Range whose first and last byte moved by `delta`."""
    ends, _, total = content_range.removeprefix("bytes ").partition("/")
    first, _, last = ends.partition("-")
    return f"bytes {int(first) + delta}-{int(last) + delta}/{total}"


def rewrite(answer: Head, fault: Fault) -> None:
    """Change the headers of an answer as the fault wants them."""
    if fault.kind == "etag":
        answer.set("ETag", fault.value)
    elif fault.kind == "length" and answer.length is not None:
        answer.set("Content-Length", str(answer.length + fault.delta))
    elif fault.kind == "short" and answer.length is not None:
        answer.set("Content-Length", str(min(answer.length, fault.after_bytes or 0)))
    elif fault.kind == "content-range" and (given := answer.get("Content-Range")) is not None:
        answer.set("Content-Range", shifted(given, fault.delta))
    for name, value in fault.headers.items():
        answer.set(name, value)


async def spoiled(body: AsyncIterator[bytes], fault: Fault | None) -> AsyncIterator[bytes]:
    """Give a body's pieces with the fault's byte flipped, or only the first so many bytes; else as they are."""
    kind, at = (fault.kind, fault.after_bytes or 0) if fault else ("", 0)
    seen = 0
    async for piece in body:
        cut = at - seen
        seen += len(piece)
        if kind == "corrupt" and 0 <= cut < len(piece):
            yield piece[:cut] + bytes([piece[cut] ^ 0xFF]) + piece[cut + 1 :]
        elif kind != "short" or cut >= len(piece):
            yield piece
        elif cut > 0:
            yield piece[:cut]
