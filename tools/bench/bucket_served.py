"""The bucket of `bucket.py`: a folder behind nginx and proxies, and the plainest client that reads from it.

nginx serves files as S3 does, to those who only read. The proxies hold every request back for 30 ms,
and see how many there are and how many bytes come back. Imports little: `bucket_peers.py` times what
processes do from their start on.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import ROOT

BUCKET, REGION = "bucket", "us-east-1"
LATENCY = 0.03  # seconds
TRIP = 0.3  # seconds: long beside what the processor takes, so that round trips can be counted
GIGABIT = 125e6  # bytes a second
CONNECTION = 90e6  # AWS, "Performance guidelines for Amazon S3": a request for each 85-90 MB/s that are wanted

Range = tuple[str, int, int]  # object, start, length


@dataclass(frozen=True)
class Prefix:
    """A folder of the bucket, by way of nginx itself or of one of the proxies. Pickles.

    Attributes:
        endpoint: URL of the server.
        name: Of the folder, in the bucket.
        local: The same folder on the disk.
    """

    endpoint: str
    name: str
    local: Path

    @property
    def url(self) -> str:
        return f"s3://{BUCKET}/{self.name}".rstrip("/")

    @property
    def http(self) -> str:
        """The same folder as any web server's."""
        return f"{self.endpoint}/{BUCKET}/{self.name}".rstrip("/")

    @property
    def options(self) -> dict[str, Any]:
        """What shardpack takes as `storage_options`."""
        return {"endpoint": self.endpoint, "skip_signature": True, "region": REGION}

    def ranges(self, num_bytes: int) -> list[Range]:
        """Return the shards, cut into ranges."""
        sizes = [(path.name, path.stat().st_size) for path in sorted(self.local.glob("*.tar"))]
        return [(name, at, min(num_bytes, size - at)) for name, size in sizes for at in range(0, size, num_bytes)]


@dataclass(frozen=True)
class Served:
    """A folder as a bucket, and the proxies before it; each holds a request back for 30 ms.

    Attributes:
        root: The folder.
        direct: URL of the server itself.
        plain: Does nothing else.
        handshakes: Holds back new connections too, as a handshake does.
        gigabit: Lets 1 Gbit/s through.
        narrow: As `handshakes`, and lets 90 MB/s through each connection.
        trips: Holds back requests, and nothing else, for 300 ms.
    """

    root: Path
    direct: str
    plain: Any
    handshakes: Any
    gigabit: Any
    narrow: Any
    trips: Any

    def prefix(self, folder: Path, proxy: Any = None) -> Prefix:
        """Return a folder in `root`, or `root` itself, as seen through a proxy; the server itself without one."""
        name = folder.relative_to(self.root).as_posix().removeprefix(".")
        return Prefix(self.direct if proxy is None else proxy.url, name, folder)


def import_servers() -> None:
    """Let the servers of `tests/` be imported, which are no part of the package."""
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))  # at the end: shardpack may come from another checkout


def serve(root: Path, stack: ExitStack) -> Served:
    """Start nginx and the proxies; they end with the stack."""
    import_servers()
    from tests.servers.nginx import NginxServer
    from tests.servers.proxy_process import ProxyProcess

    outside = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (outside / BUCKET).symlink_to(root)
    nginx = NginxServer(outside)
    stack.callback(nginx.stop)
    handshake = {"connect_latency_seconds": LATENCY}
    kinds = (
        {},
        handshake,
        {"bandwidth": GIGABIT},
        {**handshake, "connection_bandwidth": CONNECTION},
        {"latency_seconds": TRIP},
    )
    proxies = (stack.enter_context(ProxyProcess(nginx.url, **{"latency_seconds": LATENCY, **kind})) for kind in kinds)
    return Served(root, nginx.url, *proxies)


def watched(proxy: Any, work: Callable[[], Any]) -> tuple[float, dict[str, int]]:
    """Return the seconds of some work, and what the proxy saw of it."""
    proxy.clear()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began, proxy.stats()


class Client:
    """Ranges of objects, in threads, and nothing else: what obstore does for one who does not parse."""

    def __init__(self, prefix: Prefix, *, at_once: int):
        import obstore
        from obstore.store import S3Store

        options = {**prefix.options, "client_options": {"allow_http": True}}
        store = S3Store(BUCKET, prefix=prefix.name, **options)
        self._get = lambda name, start, length: obstore.get_range(store, name, start=start, length=length)
        self._threads = ThreadPoolExecutor(at_once)

    def seconds(self, ranges: Iterable[Range]) -> float:
        """Return the seconds it takes to have all of them, many at once."""
        began = time.perf_counter()
        for _ in self._threads.map(lambda wanted: self._get(*wanted), ranges):
            pass
        return time.perf_counter() - began

    def slowest(self, ranges: Iterable[Range]) -> float:
        """Return the seconds of the slowest request, one after the other."""
        slowest = 0.0
        for wanted in ranges:
            began = time.perf_counter()
            self._get(*wanted)
            slowest = max(slowest, time.perf_counter() - began)
        return slowest
