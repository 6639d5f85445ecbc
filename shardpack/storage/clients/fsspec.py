"""All other URLs that fsspec has a driver for: `hf://`, `sftp://`, and more (extra `cloud`).

Drivers differ; this file uses only what all of them offer: byte ranges, lengths, put, delete, find.
"""

from __future__ import annotations

import ftplib
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NoReturn

from shardpack.errors import MissingDependencyError, OptionError
from shardpack.storage.clients.client import Kind, ReceivedBody, RequestError
from shardpack.storage.clients.driver import Drivers
from shardpack.storage.protocols import Listed, Version

_SLOWEST_BYTES_PER_SECOND = 100_000  # a transfer slower than this counts as hung


class FsspecClient:
    """One folder of a file system, as a `Client`.

    Drivers have no conditional reads: an object's version is requested once, then trusted.
    """

    can_create = False
    part_bytes = 0

    def __init__(self, url: str, options: Mapping[str, Any], *, connect_seconds: float, read_seconds: float) -> None:
        """Connect once, to report errors early.

        Args:
            url: The URL of the folder.
            options: The options of the driver.
            connect_seconds, read_seconds: Time limits for a connection and for each call. Transfers
                get more time, in proportion to their bytes.

        Raises:
            MissingDependencyError: fsspec or a package that the driver needs is not installed.
            OptionError: fsspec has no driver for this scheme, or the driver rejects these options.
        """
        scheme = url.partition("://")[0]
        try:
            import fsspec

            kind = fsspec.get_filesystem_class(scheme)
        except ImportError as error:
            raise MissingDependencyError(
                f'{scheme}:// needs an extra; install it with: pip install "shardpack[cloud]" ({error})'
            ) from error
        except ValueError as error:
            raise OptionError(f"cannot open {scheme}://: {error}") from None
        shared = bool(getattr(kind, "async_impl", False))
        unshared = {} if shared else {"skip_instance_cache": True}
        self._seconds = connect_seconds + read_seconds
        self._versions: dict[str, Version] = {}
        self._drivers = Drivers(lambda: fsspec.core.url_to_fs(url, **unshared, **options), shared=shared)
        try:
            _, root = self._drivers.call(lambda made: made, self._seconds)
        except ImportError as error:
            raise MissingDependencyError(f"{scheme}:// needs another package: {error}") from error
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001 - drivers raise what they like
            known = _request_error(error)
            if known.kind == "refused" and not isinstance(error, OSError):
                raise OptionError(f"cannot open {scheme}://: {error}; check the storage_options") from None
            raise known from None  # from a driver that connects immediately
        self._root = str(root).rstrip("/")

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> ReceivedBody:  # noqa: ARG002
        version = self._versions.get(path) or self.head(path)
        if length is None:
            length = version.size - start
        if start >= version.size and length:
            raise RequestError("beyond", f"{version.size} bytes")
        length = min(length, version.size - start)
        full = self._full(path)
        data = self._call(lambda files: files.cat_file(full, start=start, end=start + length), length)
        if len(data) > length:
            raise RequestError("failed", "the driver returned more than was requested")
        if len(data) < length and self.head(path) != version:
            raise RequestError("changed", f"it had {version.size} bytes")
        return ReceivedBody(version, data)

    def head(self, path: str) -> Version:
        full = self._full(path)
        info = self._call(lambda files: files.info(full))
        if info.get("type") == "directory" or info.get("size") is None:
            raise RequestError("missing", "not a file")
        marks = (str(info[name]) for name in ("ETag", "etag", "blob_id", "mtime", "created") if info.get(name))
        self._versions[path] = version = Version(int(info["size"]), next(marks, ""))
        return version

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:  # noqa: ARG002
        full = self._full(path)
        self._versions.pop(path, None)
        self._call(lambda files: files.makedirs(full.rpartition("/")[0], exist_ok=True))
        if isinstance(source, Path):
            self._call(lambda files: files.put_file(str(source), full), source.stat().st_size)
        else:
            self._call(lambda files: files.pipe_file(full, source), len(source))

    def create(self, path: str, source: bytes | Path) -> NoReturn:  # noqa: ARG002
        raise RequestError("refused", "this kind of location cannot create an object only if absent")

    def delete(self, path: str) -> None:
        full = self._full(path)
        self._versions.pop(path, None)
        try:
            self._call(lambda files: files.rm_file(full))
        except RequestError as error:
            if error.kind != "missing":
                raise

    def names(self, folder: str = "") -> list[str]:
        root = f"{self._root}/{folder}" if folder else self._root
        try:
            names: list[str] = self._call(lambda files: files.find(root))
        except RequestError as error:
            if error.kind != "missing":
                raise
            return []
        return [name[len(self._root) :].lstrip("/") for name in names]

    def listing(self) -> list[Listed]:
        try:
            found: dict[str, dict[str, Any]] = self._call(lambda files: files.find(self._root, detail=True))
        except RequestError as error:
            if error.kind != "missing":
                raise
            return []
        return [
            Listed(name[len(self._root) :].lstrip("/"), int(info.get("size") or 0), _time_of(info))
            for name, info in found.items()
        ]

    def close(self) -> None:
        self._drivers.close()

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _call(self, function: Callable[[Any], Any], num_bytes: int = 0) -> Any:
        try:
            seconds = self._seconds + num_bytes / _SLOWEST_BYTES_PER_SECOND
            return self._drivers.call(lambda made: function(made[0]), seconds)
        except RequestError:
            raise
        except Exception as error:  # noqa: BLE001 - drivers raise what they like
            raise _request_error(error) from None  # their text may contain secrets


def _request_error(error: Exception) -> RequestError:
    """Return the RequestError for a driver's error, recognised by Python's own classes: others differ per driver."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, ftplib.error_perm):  # RFC 959, section 4.2
        kinds: dict[str, Kind] = {"530": "denied", "532": "denied", "550": "missing"}
        return RequestError(kinds.get(str(error)[:3], "refused"), message)
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return RequestError("missing", message)
    if isinstance(error, PermissionError) or "Authentication" in type(error).__name__:
        return RequestError("denied", message)
    hopeless = (NotImplementedError, TypeError, AttributeError, ValueError, LookupError, ImportError)
    if isinstance(error, hopeless) or "libhdfs" in message:
        return RequestError("refused", message)
    return RequestError("failed", message)


def _time_of(info: dict[str, Any]) -> float | None:
    """Return when a file was written, as far as the driver tells: a number of seconds, or an aware time."""
    for name in ("LastModified", "last_modified", "mtime", "modified", "created"):
        value = info.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
    return None
