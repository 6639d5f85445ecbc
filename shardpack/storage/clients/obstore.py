"""S3, Google Cloud Storage and Azure through obstore (extra `cloud`).

obstore runs its requests on threads that do not survive a fork: a child would wait for them forever.
So `library()` loads a second copy of it in a child whose parent has used the first.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from shardpack.errors import MissingDependencyError, OptionError
from shardpack.storage.clients.client import Kind, RequestError, kind_of_status
from shardpack.storage.protocols import Listed, Version

CHUNK_BYTES = 256 << 10  # the most that a broken connection makes us read twice
_PART_BYTES = 16 << 20  # per part of an upload; S3 allows 10,000 parts
_MESSAGES: dict[Kind, tuple[str, ...]] = {  # for errors whose class is unspecific
    "beyond": ("Wanted range starting at", "Requested range was invalid"),
    "missing": ("(os error 20)",),  # a file is in the place of a folder
    "refused": ("builder error",),  # for example a http URL where only https is allowed
}
_CLIENT_OPTIONS = frozenset((
    "allow_http", "allow_invalid_certificates", "connect_timeout", "default_content_type", "default_headers",
    "http1_only", "http2_keep_alive_interval", "http2_keep_alive_timeout", "http2_keep_alive_while_idle", "http2_only",
    "pool_idle_timeout", "pool_max_idle_per_host", "proxy_ca_certificate", "proxy_excludes", "proxy_url",
    "randomize_addresses", "read_timeout", "root_certificate", "timeout", "user_agent",
))  # fmt: skip
_PROVIDER = re.compile("^(aws|azure|google)_")
_STATUS = re.compile(r"status code: (\d{3})")
_PERFORMING = re.compile(r"^.*Error performing \S+ \S+ in \S+(, after \d+ retries.*?)? - |: <\?xml.*$")


@dataclass(frozen=True, slots=True)
class Library:
    """The modules of one copy of obstore."""

    api: Any
    store: Any
    exceptions: Any


_libraries: dict[int, Library] = {}  # by process
_loading: dict[int, threading.Lock] = {}  # by process: a forked child may inherit a lock that is held


def library() -> Library:
    """Return a copy of obstore that this process may use.

    Raises:
        MissingDependencyError: obstore is not installed.
    """
    process = os.getpid()
    if process not in _libraries:
        with _loading.setdefault(process, threading.Lock()):
            if process not in _libraries:
                _libraries[process] = _import_copy() if _libraries else _import()
    return _libraries[process]


def _import() -> Library:
    try:
        modules = [importlib.import_module(name) for name in ("obstore", "obstore.store", "obstore.exceptions")]
    except ImportError as error:
        raise MissingDependencyError(
            'buckets need an extra; install it with: pip install "shardpack[cloud]"'
        ) from error
    return Library(*modules)


def _import_copy() -> Library:
    """Import obstore from a copy of its files: importing the same files again would return the same unusable state.

    Takes 20 ms and copies 15 MB (2-core VM).
    """
    spec = importlib.util.find_spec("obstore")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    inherited = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "obstore"}
    folder = tempfile.mkdtemp(prefix="shardpack-")
    try:
        shutil.copytree(spec.submodule_search_locations[0], os.path.join(folder, "obstore"))
        sys.path.insert(0, folder)
        try:
            importlib.invalidate_caches()
            return _import()
        finally:
            sys.path.remove(folder)
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "obstore"]:
            del sys.modules[name]
        sys.modules.update(inherited)
        shutil.rmtree(folder, ignore_errors=True)


def _new_store(url: str, options: Mapping[str, Any], *, connect_seconds: float, read_seconds: float) -> Any:
    """Return obstore's store for a URL; makes no request.

    Raises:
        OptionError: An option is unknown or invalid.
    """
    config = dict(options)
    endpoint = str(config.get("endpoint", config.get("endpoint_url", "")))
    client_options = {
        "connect_timeout": timedelta(seconds=connect_seconds),
        "read_timeout": timedelta(seconds=read_seconds),
        "timeout": timedelta(days=1),  # per request, in effect none: what matters is that bytes keep arriving
        "allow_http": not endpoint.startswith("https://"),  # the environment may also name an endpoint
        **_pop_client_options(config),
        **config.pop("client_options", {}),
    }
    retry = {"max_retries": 0, "retry_timeout": timedelta(seconds=1)}  # `RemoteStore` retries
    provider = config.pop("credential_provider", None)
    given = {} if provider is None else {"credential_provider": provider}
    loaded = library()
    try:
        with _no_panic():
            return loaded.store.from_url(url, config=config, client_options=client_options, retry_config=retry, **given)
    except (loaded.exceptions.BaseError, OSError, ValueError, TypeError, RequestError) as error:
        raise OptionError(f"storage_options do not fit: {_reason(error)}") from None


def _pop_client_options(config: dict[str, Any]) -> dict[str, Any]:
    """Remove and return the options that obstore takes as `client_options`; a flat KEY=VALUE list cannot nest them."""
    client_options = {}
    for name in list(config):
        short = _PROVIDER.sub("", name)
        if short in _CLIENT_OPTIONS:
            value = config.pop(name)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                value = f"{value} seconds" if short.endswith(("timeout", "interval")) else str(value)
            elif short.endswith(("timeout", "interval")) and str(value).isdecimal():
                value = f"{value} seconds"
            client_options[short] = value
    return client_options


@contextmanager
def _no_panic() -> Iterator[None]:
    """Turn a panic of obstore into a RequestError; `except Exception` would not catch it."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise RequestError("refused", f"obstore stopped: {error}") from None


class ObstoreClient:
    """One folder of a bucket, as a `Client` on a store of obstore."""

    can_create = True
    part_bytes = _PART_BYTES

    def __init__(self, store: Any) -> None:
        self._library = library()
        self._errors = (self._library.exceptions.BaseError, OSError)
        self._store = store

    @classmethod
    def of_url(
        cls, url: str, options: Mapping[str, Any], *, connect_seconds: float, read_seconds: float
    ) -> ObstoreClient:
        """Return the client of a bucket; makes no request.

        Args:
            url: A URL such as "s3://bucket/folder".
            options: obstore's configuration keys, such as "region" or "endpoint", and its `client_options`
                and `credential_provider`.
            connect_seconds, read_seconds: Time limits for a connection and for each piece of a response.
        """
        return cls(_new_store(url, options, connect_seconds=connect_seconds, read_seconds=read_seconds))

    def get(self, path: str, *, start: int, length: int | None, etag: str) -> ObstoreResponse:
        options: dict[str, Any] = {"if_match": etag} if etag else {}
        if length is not None:
            options["range"] = (start, start + length)
        elif start:
            options["range"] = {"offset": start}
        with self.request_errors():
            return ObstoreResponse(self, self._library.api.get(self._store, path, options=options))

    def head(self, path: str) -> Version:
        with self.request_errors():
            return _version(self._library.api.head(self._store, path))

    def put(self, path: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        put = partial(self._library.api.put, self._store, path, source, chunk_size=self.part_bytes)
        with self.request_errors():
            if cache_control:
                with suppress(NotImplementedError):  # a local folder stores no headers
                    put(attributes={"Cache-Control": cache_control})
                    return
            put()

    def create(self, path: str, source: bytes | Path) -> None:
        with self.request_errors():
            self._library.api.put(self._store, path, source, mode="create")

    def delete(self, path: str) -> None:
        with self.request_errors(), suppress(self._library.exceptions.NotFoundError, FileNotFoundError):
            self._library.api.delete(self._store, path)

    def names(self, folder: str = "") -> list[str]:
        with self.request_errors():
            pages = self._library.api.list(self._store, prefix=folder or None)
            return [item["path"] for page in pages for item in page]

    def listing(self) -> list[Listed]:
        with self.request_errors():
            pages = self._library.api.list(self._store)
            return [
                Listed(item["path"], item["size"], item["last_modified"].timestamp()) for page in pages for item in page
            ]

    def close(self) -> None:
        """Do nothing: connections are closed with the store."""

    @contextmanager
    def request_errors(self) -> Iterator[None]:
        """Turn errors of obstore into RequestErrors."""
        try:
            with _no_panic():
                yield
        except self._errors as error:
            raise self._request_error(error) from None  # its text may contain a signature

    def _request_error(self, error: Exception) -> RequestError:
        """Return the RequestError for an error of obstore, by its class, or else by its text."""
        names = self._library.exceptions
        message = _reason(error)
        kinds: tuple[tuple[Kind, tuple[type[Exception], ...]], ...] = (
            ("missing", (names.NotFoundError, FileNotFoundError)),
            ("exists", (names.AlreadyExistsError, FileExistsError)),
            ("changed", (names.PreconditionError,)),
            ("denied", (names.PermissionDeniedError, names.UnauthenticatedError)),
            ("refused", (names.InvalidPathError, names.NotSupportedError)),
        )
        for kind, classes in kinds:
            if isinstance(error, classes):
                return RequestError(kind, message)
        for kind, texts in _MESSAGES.items():
            if any(text in message for text in texts):
                return RequestError(kind, message)
        status = _STATUS.search(str(error))
        return RequestError(kind_of_status(int(status[1])) if status else "failed", message)


class StoreConnection:
    """A `Connection` to a store of obstore that the caller created.

    Pickles if that store does, secrets included. Only for the process that created the store: the
    threads of obstore do not survive a fork.
    """

    def __init__(self, store: Any) -> None:
        self._store, self._process = store, os.getpid()
        prefix = getattr(store, "prefix", None)
        self.location = f"<obstore {type(store).__name__}{f' {prefix}' if prefix else ''}>"

    def __reduce__(self) -> tuple[type[StoreConnection], tuple[Any]]:
        return (StoreConnection, (self._store,))

    def connect(self) -> ObstoreClient:
        """Return a client on the store.

        Raises:
            OptionError: This is a forked child of the process that created the store.
        """
        if os.getpid() != self._process:
            raise OptionError("a store of obstore does not survive a fork; open the dataset by its URL, or use spawn")
        return ObstoreClient(self._store)

    @property
    def advice(self) -> str:
        """What the user should do when access is denied."""
        return "check the credentials of the store that was passed"

    def redact(self, text: str) -> str:
        """Return the text unchanged: the store does not reveal its secrets, and its messages do not quote them."""
        return text


class ObstoreResponse:
    """A `Response` of obstore."""

    def __init__(self, client: ObstoreClient, result: Any) -> None:
        self.version = _version(result.meta)
        self._client, self._result = client, result
        self._chunks: Iterator[Any] | None = None

    def readinto(self, view: memoryview) -> int:
        with self._client.request_errors():
            if self._chunks is None:
                self._chunks = iter(self._result.stream(min_chunk_size=CHUNK_BYTES))
            chunk = next(self._chunks, b"")
        count = len(chunk)
        if count > len(view):
            raise RequestError("failed", "the server sent more than was requested")
        view[:count] = memoryview(chunk)
        return count

    def close(self) -> None:
        self._result = self._chunks = None


def _version(meta: Mapping[str, Any]) -> Version:
    return Version(meta["size"], meta["e_tag"] or "")


def _reason(error: Exception) -> str:
    """Return the message of an error of obstore, without the request, the URL and the response body."""
    first = str(error).strip().partition("\n")[0]
    return _PERFORMING.sub("", first).removeprefix("Server returned non-2xx status code: ").rstrip(": ")
