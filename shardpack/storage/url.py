"""Where a store is and how it is reached: addresses, options, and which of them are secret.

    "s3://bucket/train" + storage_options --> Connection --connect()--> Client

A connection pickles without its secrets. An unpickled one finds them again in the same process and in
its forks, as long as one of those that hold them is alive; a child process that is being spawned is
given them through its own pipe. Elsewhere the provider's own (environment, instance role, ...) must do.
"""

from __future__ import annotations

import os
import re
import secrets
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from typing import Any
from urllib.parse import urlsplit

from shardpack.errors import OptionError
from shardpack.runtime.arguments import as_number
from shardpack.storage.clients.client import Client

BUCKET_SCHEMES = frozenset(("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"))
_ALIASES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az", "adl": "az"}
WEB_SCHEMES = frozenset(("http", "https"))
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0

# What may be written down. Everything else is taken for a secret: a new option of a library is not known here.
_HARMLESS = frozenset((
    "account_name", "allow_http", "allow_invalid_certificates", "anon", "aws_allow_http", "azure_allow_http",
    "bucket", "connect_timeout", "connect_timeout_seconds", "container", "default_region", "endpoint", "endpoint_url",
    "google_allow_http", "host", "http1_only", "http2_only", "port", "project", "proxy_excludes", "proxy_url",
    "randomize_addresses", "read_timeout", "read_timeout_seconds", "region", "repo_type", "requester_pays", "revision",
    "skip_signature", "timeout", "unsigned_payload", "use_emulator", "user_agent", "username",
    "virtual_hosted_style_request",
))  # fmt: skip
_QUERY = re.compile(r"(\w+://[^\s?\"']+)\?[^\s\"']+")
_USER = re.compile(r"(\w+://)[^\s/@\"']+@")


class _Secrets:
    """The secret options of a location, held by every connection to it."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = options

    def __repr__(self) -> str:
        return "_Secrets(...)"


_held: weakref.WeakValueDictionary[str, _Secrets] = weakref.WeakValueDictionary()  # by a token that tells nothing


@dataclass(frozen=True, slots=True)
class UrlConnection:
    """A place with a URL.

    Attributes:
        location: The URL without user, password and query.
        options: Of `storage_options`, what is no secret.
        token: By which an unpickled connection finds the rest; "" if there is none.
    """

    location: str
    options: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    _secrets: _Secrets | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        found = self._secrets.options if self._secrets and get_spawning_popen() is not None else None
        return (_unpickled, (self.location, self.options, self.token, found))

    @property
    def advice(self) -> str:
        """See `Connection.advice`."""
        if self.token and self._secrets is None:
            return (
                "secret storage_options are not pickled: open the dataset in this process, "
                "or set the credentials in its environment"
            )
        return "check the credentials, or pass storage_options"

    def connect(self) -> Client:
        """Return a client; see `Connection.connect`.

        Raises:
            MissingDependencyError: An extra is not installed; names it.
            OptionError: An option is not known to the library below.
        """
        try:
            return self._connected({**self.options, **self._secret_options()})
        except OptionError as error:  # of a library below: it may quote a value
            raise OptionError(self.redact(str(error))) from None

    def _secret_options(self) -> Mapping[str, Any]:
        return {} if self._secrets is None else self._secrets.options

    def _connected(self, options: dict[str, Any]) -> Client:
        url = str(options.pop(_FULL_URL, self.location))
        connect = positive(options, "connect_timeout_seconds", CONNECT_SECONDS)
        read = positive(options, "read_timeout_seconds", READ_SECONDS)
        scheme, _, _ = url.partition("://")
        if scheme in BUCKET_SCHEMES:
            from shardpack.storage.clients.obstore import ObstoreClient

            return ObstoreClient.of_url(url, options, connect_seconds=connect, read_seconds=read)
        if scheme in WEB_SCHEMES:
            from shardpack.storage.clients.http import HttpClient

            base, _, query = url.partition("?")
            headers = dict(options.pop("headers", {}))
            if token := options.pop("token", None):
                headers["Authorization"] = f"Bearer {token}"
            if options:
                raise OptionError(
                    f"storage_options of {scheme}:// are headers, token, connect_timeout_seconds and "
                    f"read_timeout_seconds; got {', '.join(sorted(options))}"
                )
            return HttpClient(base, query, headers, connect_seconds=connect, read_seconds=read)
        from shardpack.storage.clients.fsspec import FsspecClient

        return FsspecClient(url, options, connect_seconds=connect, read_seconds=read)

    def redact(self, text: str) -> str:
        """Return a message without secrets: known values, queries and users of URLs."""
        for value in sorted(_strings(self._secret_options()), key=len, reverse=True):  # some may hold others
            if len(value) >= 4:
                text = text.replace(value, "***")
        return _USER.sub(r"\1***@", _QUERY.sub(r"\1?***", text))


_FULL_URL = "full_url"


def connection_to(url: str, options: Mapping[str, Any] | None = None) -> UrlConnection:
    """Return the connection to a folder of a bucket or server.

    Raises:
        OptionError: The URL has no scheme or no host.
    """
    parts = urlsplit(url)
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise OptionError(f"not a URL of a folder: {UrlConnection('').redact(url)!r}; write it like s3://bucket/folder")
    location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    given = dict(options or {})
    hidden = {name: given.pop(name) for name in sorted(given) if name not in _HARMLESS or "@" in str(given[name])}
    if location != url:
        hidden[_FULL_URL] = url
    if not hidden:
        return UrlConnection(location.rstrip("/"), given)
    return _unpickled(location.rstrip("/"), given, secrets.token_hex(8), hidden)


def _unpickled(location: str, options: Mapping[str, Any], token: str, found: Mapping[str, Any] | None) -> UrlConnection:
    """Return a connection with the secrets that came along, or those that this process holds by its token."""
    held = _held.get(token)
    if held is None and found is not None:
        held = _held.setdefault(token, _Secrets(found))
    return UrlConnection(location, options, token, held)


def canonical(location: str) -> str:
    """Return a location in one of the ways in which it may be written."""
    scheme, found, rest = location.partition("://")
    return f"{_ALIASES.get(scheme, scheme)}://{rest.rstrip('/')}" if found else os.path.realpath(location)


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether a location has a scheme, as s3://bucket has; a drive letter is none."""
    text = os.fspath(location)
    return "://" in text or text.startswith("file:/")


def local_path(location: str) -> str | None:
    """Return the path that a file: URL means (RFC 8089), and of a plain path itself; None for other URLs.

    Raises:
        OptionError: It is a file on another machine.
    """
    if not is_url(location):
        return location
    if not location.startswith("file:/"):
        return None
    from urllib.request import url2pathname

    parts = urlsplit(location)
    if parts.netloc not in ("", "localhost"):
        raise OptionError(f"{location!r} is on another machine; write file:///folder, or the path alone")
    return url2pathname(parts.path)


def positive(options: dict[str, Any], name: str, default: float) -> float:
    """Take a number above 0 out of the options.

    Raises:
        OptionError: It is none.
    """
    return as_number(f"storage_options: {name}", options.pop(name, default))


def _strings(value: Any) -> list[str]:
    """Return every string in a value, as deep as mappings go."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, (list, tuple)):
        return [text for item in value for text in _strings(item)]
    if isinstance(value, bytes):
        return [value.decode("latin-1")]
    return [value] if isinstance(value, str) else []
