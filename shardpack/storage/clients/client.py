"""What a bucket or server is asked, one request at a time; how often, and what for, is decided in `remote`.

A client makes each request once: no retries, no pool of its own beyond connections. It turns what the
library below says into a `RequestError` of a kind, because what to do next depends on the kind alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

from shardpack.storage.protocols import Version

Kind = Literal["missing", "denied", "changed", "beyond", "exists", "busy", "failed", "refused"]


class RequestError(Exception):
    """One request went wrong. Never leaves the storage package.

    Attributes:
        kind: "missing" and "denied" as they say; "changed": the object is no longer the pinned one;
            "beyond": it ends before the range begins; "exists": it was not to be there;
            "busy": the server asks to slow down; "failed": may go well the next time; "refused": will not.
        retry_after_seconds: How long the server asks to wait, where it does.
    """

    def __init__(self, kind: Kind, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.kind, self.retry_after_seconds = kind, retry_after_seconds


def kind_of_status(status: int) -> Kind:
    """Return what an HTTP status other than success means for whoever asked (RFC 9110, section 15)."""
    kinds: dict[int, Kind] = {
        401: "denied",
        403: "denied",
        404: "missing",
        408: "failed",
        409: "failed",  # S3: a conflicting request is under way
        410: "missing",
        412: "changed",
        416: "beyond",
        425: "failed",
        429: "busy",
        503: "busy",
    }
    return kinds.get(status, "failed" if status >= 500 else "refused")


class Response(Protocol):
    """The body of one range, while it arrives."""

    version: Version  # of the whole object

    def readinto(self, view: memoryview) -> int:
        """Receive the next bytes into the beginning of a view; return how many, 0 at the end of the body.

        Raises:
            RequestError: The connection broke, or brings more than the range asked for.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; of one that has not given all its bytes, for good."""
        ...


class ReceivedBody:
    """A body that is in memory already. See `Response`."""

    def __init__(self, version: Version, data: Any) -> None:
        self.version, self._data = version, memoryview(data)

    def readinto(self, view: memoryview) -> int:
        count = min(len(view), len(self._data))
        view[:count], self._data = self._data[:count], self._data[count:]
        return count

    def close(self) -> None:
        """Do nothing: all bytes are here."""


class Client(Protocol):
    """One folder of a bucket or server. Safe in threads; belongs to the process that made it.

    Attributes:
        can_create: Whether `create` is available.
        part_bytes: Size of the parts in which long files are uploaded, on which an S3 ETag depends; 0 for one part.
    """

    can_create: bool
    part_bytes: int

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> Response:
        """Ask for a range; None: to the end. With `etag`, only of that version of the object."""
        ...

    def head(self, path: str) -> Version:
        """Return an object's version."""
        ...

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None) -> None:
        """Store bytes or a local file as an object, whole or not at all."""
        ...

    def create(self, path: str, source: bytes | Path) -> None:
        """Do what `put` does, unless there is such an object already."""
        ...

    def close(self) -> None:
        """Let go of all connections."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object; it is fine if there is none."""
        ...

    def names(self) -> list[str]:
        """Return the names of all objects below the folder."""
        ...


class Connection(Protocol):
    """How to reach a place: a value that pickles without secrets, and makes clients."""

    @property
    def location(self) -> str:
        """The URL, for people: without secrets."""
        ...

    @property
    def advice(self) -> str:
        """What to do when access is denied."""
        ...

    def connect(self) -> Client:
        """Return a client of this process; imports the library that it stands on."""
        ...

    def redact(self, text: str) -> str:
        """Return a message with every secret of this connection blotted out."""
        ...
