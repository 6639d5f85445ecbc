"""Every other place that fsspec has a driver for: `hf://`, `sftp://`, and more (extra `cloud`).

Drivers differ; this file asks only for what all have: a byte range, a length, put, delete, find.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from shardpack.errors import MissingDependencyError, OptionError
from shardpack.storage.clients.base import ReceivedBody, RequestError
from shardpack.storage.protocols import Version


class FsspecClient:
    """One folder of a file system. See `Client`."""

    can_create = False

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            import fsspec
        except ImportError as error:
            raise MissingDependencyError(
                f'{url.partition("://")[0]}:// needs an extra; install it with: pip install "shardpack[cloud]"'
            ) from error
        scheme = url.partition("://")[0]
        try:
            self._files, root = fsspec.core.url_to_fs(url, **options)
        except ImportError as error:
            raise MissingDependencyError(f"{scheme}:// needs another package: {error}") from error
        except ValueError as error:
            raise OptionError(f"cannot open {scheme}://: {error}") from None
        except OSError as error:  # of drivers that connect at once
            raise _request_error(error) from None
        self._root = root.rstrip("/")

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> ReceivedBody:  # noqa: ARG002
        version = self.head(path)
        if length is None:
            length = version.size - start
        if start >= version.size and length:
            raise RequestError("beyond", f"{version.size} bytes")
        with _driver_errors():
            data = self._files.cat_file(self._full(path), start=start, end=min(start + length, version.size))
        return ReceivedBody(version, data)

    def head(self, path: str) -> Version:
        with _driver_errors():
            info = self._files.info(self._full(path))
        if info.get("type") == "directory" or info.get("size") is None:
            raise RequestError("missing", "not a file")
        marks = (str(info[name]) for name in ("ETag", "etag", "blob_id", "mtime", "created") if info.get(name))
        return Version(int(info["size"]), next(marks, ""))

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:  # noqa: ARG002
        full = self._full(path)
        with _driver_errors():
            self._files.makedirs(full.rpartition("/")[0], exist_ok=True)
            if isinstance(source, Path):
                self._files.put_file(str(source), full)
            else:
                self._files.pipe_file(full, source)

    def create(self, path: str, source: bytes | Path) -> NoReturn:  # noqa: ARG002
        raise RequestError("refused", "nothing here makes sure that an object is not replaced")

    def delete(self, path: str) -> None:
        with _driver_errors(), suppress(FileNotFoundError):
            self._files.rm_file(self._full(path))

    def names(self) -> list[str]:
        found: list[str] = []
        with _driver_errors(), suppress(FileNotFoundError):
            found = self._files.find(self._root)
        return [name[len(self._root) :].lstrip("/") for name in found]

    def close(self) -> None:
        """Do nothing: connections are the driver's business."""

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}"


@contextmanager
def _driver_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - drivers raise what they like
        raise _request_error(error) from None  # their text may hold secrets


def _request_error(error: Exception) -> RequestError:
    """Return what a driver's error means: only the classes that Python has are common to all."""
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)):
        return RequestError("missing", message)
    if isinstance(error, PermissionError):
        return RequestError("denied", message)
    if isinstance(error, (NotImplementedError, TypeError, AttributeError)):
        return RequestError("refused", message)
    return RequestError("failed", message)
