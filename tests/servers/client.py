"""The plainest of clients: one request, all that came back."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes


def ask(
    url: str,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    connection: http.client.HTTPConnection | None = None,
    **headers: str,
) -> Answer:
    """Send one request, on a new connection unless given one; `If_Match="x"` is the header If-Match."""
    own = connection is None
    connection = connection or http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())
    finally:
        if own:
            connection.close()
