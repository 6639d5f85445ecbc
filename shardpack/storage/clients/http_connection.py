"""Connections of urllib3 whose bodies can be received into a buffer; urllib3 itself allocates new bytes each time.

Imported only if urllib3 is installed.
"""

from __future__ import annotations

import http.client
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection


class _KnowsBody:
    """Remembers the body of its last response, as `http.client` reads it."""

    body: http.client.HTTPResponse

    def response_class(self, *arguments: Any, **options: Any) -> http.client.HTTPResponse:
        """Return a response; `http.client` calls this in place of the class."""
        self.body = http.client.HTTPResponse(*arguments, **options)
        return self.body


class _Connection(_KnowsBody, HTTPConnection):  # type: ignore[misc] # a class attribute there, a method here
    pass


class _SecureConnection(_KnowsBody, HTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def new_pool(**options: Any) -> urllib3.PoolManager:
    """Return a pool of these connections, with the options of `urllib3.PoolManager`."""
    pool = urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return pool


def body_of(response: urllib3.BaseHTTPResponse) -> http.client.HTTPResponse:
    """Return the unread body of a response from such a pool."""
    connection: Any = response.connection
    body: http.client.HTTPResponse = connection.body
    return body
