"""Plain HTTP and HTTPS through urllib3 (extra `cloud`): any server that supports ranges.

urllib3 rather than obstore, because it reports `Retry-After`, follows redirects (hubs redirect each file to
another host, which must not get our headers), and survives a fork.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from http.client import HTTPResponse as Body
from typing import Any, NoReturn
from urllib.parse import quote

from shardpack.errors import MissingDependencyError, OptionError
from shardpack.storage.clients.client import RequestError, kind_of_status
from shardpack.storage.protocols import Version

try:
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection
except ImportError as error:
    raise MissingDependencyError(
        'reading over HTTP needs an extra; install it with: pip install "shardpack[cloud]"'
    ) from error

CHUNK_BYTES = 1 << 20  # the most that a broken connection makes us read twice
FIRST_CHUNK_BYTES = 128 << 10  # of a response; later ones double, so that even a bad connection makes progress
_CONNECTIONS = 256  # kept open for reuse: as many as a store has requests in flight
_MAX_REDIRECTS = 5


class HttpClient:
    """One folder of a web server, as a `Client`."""

    can_create = False
    part_bytes = 0

    def __init__(
        self, url: str, query: str, headers: Mapping[str, str], *, connect_seconds: float, read_seconds: float
    ) -> None:
        """Make no request yet.

        Args:
            url: The URL of the folder, without a query.
            query: Appended to every URL, for example a shared access signature.
            headers: Sent with every request, but after a redirect to no other host: any of them may be a secret.
            connect_seconds, read_seconds: Time limits for a connection and for each piece of a response.
        """
        for name, value in headers.items():
            if not isinstance(value, str) or not value.isascii() or not value.isprintable():
                raise OptionError(
                    f"storage_options: header {name!r} is not a line of printable ASCII; strip its line end"
                )
        self._url, self._query = url.rstrip("/"), f"?{query}" if query else ""
        self._headers = {"Accept-Encoding": "identity", "User-Agent": "shardpack", **headers}
        self._pool = _new_pool(
            maxsize=_CONNECTIONS,
            timeout=urllib3.Timeout(connect=connect_seconds, read=read_seconds),
            retries=urllib3.Retry(
                total=None,
                connect=0,
                read=0,
                status=0,
                other=0,
                redirect=_MAX_REDIRECTS,
                respect_retry_after_header=False,
                remove_headers_on_redirect={"Authorization", "Cookie", "Proxy-Authorization", *headers},
            ),
        )

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> HttpResponse:
        headers = {}
        if length is not None or start:
            headers["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        if etag and not etag.startswith("W/"):
            headers["If-Match"] = etag  # weak ETags never match (RFC 9110, 13.1.1); `RemoteStore` compares
        response = self._request("GET", path, headers)
        try:
            return HttpResponse(self, response, start, asked=length if "Range" in headers else None)
        except BaseException:
            response.close()
            raise

    def head(self, path: str) -> Version:
        response = self._request("HEAD", path, {})
        response.close()
        length = response.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RequestError("refused", "the server does not report the length")
        return Version(int(length), response.headers.get("ETag", ""))

    def put(self, *_: object, cache_control: str | None = None) -> NoReturn:  # noqa: ARG002
        self._refuse_writes()

    def create(self, *_: object) -> NoReturn:
        self._refuse_writes()

    def delete(self, *_: object) -> NoReturn:
        self._refuse_writes()

    def names(self, folder: str = "") -> NoReturn:  # noqa: ARG002
        raise RequestError("refused", "a web server does not list its files; name them")

    def listing(self) -> NoReturn:
        self.names()

    def close(self) -> None:
        self._pool.clear()

    def _refuse_writes(self) -> NoReturn:
        raise RequestError("refused", "a web server takes no files; write to a folder or a bucket")

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> Any:
        """Return a response of status 2xx whose body is not yet read."""
        url = f"{self._url}/{quote(path)}{self._query}"
        try:
            response = self._pool.request(method, url, headers={**self._headers, **headers}, preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise RequestError("failed", self.reason(error)) from None
        if 200 <= response.status < 300:
            return response
        wait = None
        with suppress(urllib3.exceptions.InvalidHeader):
            wait = urllib3.Retry().get_retry_after(response)
        response.drain_conn()
        response.close()  # the connection returns to the pool, unless draining failed
        kind = kind_of_status(response.status)
        raise RequestError(kind, f"status {response.status} {response.reason or ''}".strip(), retry_after_seconds=wait)

    def reason(self, error: Exception) -> str:
        """Return what went wrong with a connection, without its URL, which may contain a signature."""
        cause = getattr(error, "reason", None) or error
        named = {
            urllib3.exceptions.NewConnectionError: "no connection",  # also an instance of the next class
            urllib3.exceptions.ConnectTimeoutError: "no connection in time",
            urllib3.exceptions.ReadTimeoutError: "no bytes in time",
            urllib3.exceptions.ProtocolError: "the connection broke",
            urllib3.exceptions.ResponseError: "too many redirects",
        }
        for kind, message in named.items():
            if isinstance(cause, kind):
                return message
        return type(cause).__name__


class HttpResponse:
    """A `Response` of urllib3."""

    def __init__(self, client: HttpClient, response: Any, start: int, *, asked: int | None) -> None:
        self._client, self._response = client, response
        self.version = _version(response, start, asked)
        self._body: Body = response.connection.body
        self._step = FIRST_CHUNK_BYTES

    def readinto(self, view: memoryview) -> int:
        try:
            count = self._body.readinto(view[: self._step])
        except TimeoutError:
            raise RequestError("failed", "no bytes in time") from None
        except (OSError, HTTPException):
            raise RequestError("failed", "the connection broke") from None
        self._step = min(2 * self._step, CHUNK_BYTES)
        return count

    def close(self) -> None:
        if self._body.isclosed():  # read to its end: the connection can be reused
            self._response.release_conn()
        else:
            self._response.close()


def _version(response: Any, start: int, asked: int | None) -> Version:
    """Return an object's version from a response.

    Raises:
        RequestError: The response does not bring the requested bytes.
    """
    etag, length = response.headers.get("ETag", ""), response.headers.get("Content-Length", "")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise RequestError("refused", "the server compresses what was requested uncompressed; disable that there")
    if response.status == 206:
        unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
        extent, _, total = rest.partition("/")
        first, _, last = extent.partition("-")
        if unit != "bytes" or first != str(start) or not total.isdecimal() or not last.isdecimal():
            raise RequestError("failed", f"asked for bytes from {start}, got {unit} {rest}")
        if asked is not None and int(last) - start >= asked:
            raise RequestError("failed", "the server sent more than was requested")
        if length not in ("", str(int(last) - start + 1)):
            raise RequestError("failed", f"got a range of {rest}, but a body of {length} bytes")
        return Version(int(total), etag)
    if start or (asked is not None and length != str(asked)):
        raise RequestError(
            "refused",
            "the server does not serve ranges; download the files with another tool, such as wget, and open the folder",
        )
    if not length.isdecimal():
        raise RequestError("refused", "the server does not report the length")
    return Version(int(length), etag)


class _KnowsBody:
    """A connection that keeps the body of its last response: urllib3 itself reads it into new bytes each time."""

    body: Body

    def response_class(self, *arguments: Any, **options: Any) -> Body:
        """Return a response; `http.client` calls this in place of the class."""
        self.body = Body(*arguments, **options)
        return self.body


class _Connection(_KnowsBody, HTTPConnection):  # type: ignore[misc] # a class attribute there, a method here
    pass


class _SecureConnection(_KnowsBody, HTTPSConnection):  # type: ignore[misc]
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def _new_pool(**options: Any) -> urllib3.PoolManager:
    """Return a pool of these connections, with the options of `urllib3.PoolManager`."""
    pool = urllib3.PoolManager(**options)
    pool.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return pool
