"""The interface between `RemoteStore`, which decides what to request and how often, and the libraries that request it.

A client makes each request once: no retries, and no pool except of connections. It turns every error of its library
into a `RequestError`, whose kind decides what happens next.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from shardpack.storage.protocols import Listed, Version

Kind = Literal["missing", "denied", "changed", "beyond", "exists", "busy", "failed", "refused"]


class RequestError(Exception):
    """One request failed. Never leaves the storage package.

    Attributes:
        kind: "missing": no such object; "denied": no permission; "changed": the object is not the pinned version;
            "beyond": it ends before the range begins; "exists": its name is taken; "busy": the server
            asks to slow down; "failed": may succeed the next time; "refused": will not.
        retry_after_seconds: How long the server asks to wait, if it does.
    """

    def __init__(self, kind: Kind, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.retry_after_seconds = kind, retry_after_seconds


def kind_of_status(status: int) -> Kind:
    """Return the kind of error that an HTTP status other than success stands for (RFC 9110, section 15)."""
    kinds: dict[int, Kind] = {
        401: "denied",
        403: "denied",
        404: "missing",
        408: "failed",
        409: "failed",  # S3: a conflicting request is in progress
        410: "missing",
        412: "changed",
        416: "beyond",
        425: "failed",
        429: "busy",
        503: "busy",
    }
    return kinds.get(status, "failed" if status >= 500 else "refused")


class Response(Protocol):
    """The body of a response while it arrives.

    Attributes:
        version: The version of the whole object.
    """

    version: Version

    def readinto(self, view: memoryview) -> int:
        """Receive the next bytes into the start of a view; return their number, 0 at the end of the body.

        Raises:
            RequestError: The connection broke, or brought more than the requested range.
        """
        ...

    def close(self) -> None:
        """Release the connection, closing it if the body was not read to its end."""
        ...


class ReceivedBody:
    """A `Response` whose body is already in memory."""

    def __init__(self, version: Version, data: Any) -> None:
        self.version, self._data = version, memoryview(data)

    def readinto(self, view: memoryview) -> int:
        count = min(len(view), len(self._data))
        view[:count], self._data = self._data[:count], self._data[count:]
        return count

    def close(self) -> None:
        """Do nothing: no connection is held."""


class Client(Protocol):
    """One folder of a bucket or server. Safe in threads, in the process that created it.

    Attributes:
        can_create: Whether `create` is available.
        part_bytes: Size of the parts in which long files are uploaded, on which an S3 ETag depends; 0 for one part.
    """

    can_create: bool
    part_bytes: int

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> Response:
        """Request a range, to the end for a `length` of None; with `etag`, only of that version of the object."""
        ...

    def head(self, path: str) -> Version:
        """Return an object's version."""
        ...

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None) -> None:
        """Store bytes or a local file as an object, atomically."""
        ...

    def create(self, path: str, source: bytes | Path) -> None:
        """Store an object as `put` does, unless its name is taken."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object, if it exists."""
        ...

    def names(self, folder: str = "") -> list[str]:
        """Return the names of all objects in a folder, each from the client's own folder on."""
        ...

    def listing(self) -> list[Listed]:
        """Return all objects below the folder, in any order, with what is known of them."""
        ...


class Connection(Protocol):
    """How to reach a location: a value that pickles without secrets and creates clients."""

    @property
    def location(self) -> str:
        """The URL, without secrets."""
        ...

    @property
    def advice(self) -> str:
        """What the user should do when access is denied."""
        ...

    def connect(self) -> Client:
        """Return a client for this process; imports the library that it uses."""
        ...

    def redact(self, text: str) -> str:
        """Return a message without any secret of this connection."""
        ...
