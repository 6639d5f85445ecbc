"""Servers for tests of any folder: `tests/conftest.py` imports these names.

All listen on loopback only, at ports of their own, so that every pytest-xdist worker has its own. The session's
servers start when the first test asks; whatever starts here ends with the test or the session.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.azurite import AzuriteServer
from tests.servers.nginx import NginxServer
from tests.servers.proxy import Proxy
from tests.servers.s3 import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3-compatible server; `s3_server.new_bucket()` is an empty bucket."""
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def azurite_server() -> Iterator[AzuriteServer]:
    """An Azure Blob server; `azurite_server.new_container()` is an empty container."""
    server = AzuriteServer()
    yield server
    server.stop()


@pytest.fixture
def nginx_server() -> Iterator[Callable[..., NginxServer]]:
    """`nginx_server(folder)` serves a folder until the test ends."""
    with contextlib.ExitStack() as stack:

        def serve(root: Path, **options: Any) -> NginxServer:
            server = NginxServer(root, **options)
            stack.callback(server.stop)
            return server

        yield serve


@pytest.fixture(scope="class")
def nginx_for_class() -> Iterator[Callable[..., NginxServer]]:
    """`nginx_for_class(folder)` serves a folder until the tests of a class are through."""
    with contextlib.ExitStack() as stack:

        def serve(root: Path) -> NginxServer:
            server = NginxServer(root)
            stack.callback(server.stop)
            return server

        yield serve


@pytest.fixture
def proxy() -> Iterator[Callable[..., Proxy]]:
    """`proxy(server.url, **options)` stands before a server until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda upstream, **options: stack.enter_context(Proxy(upstream, **options))
