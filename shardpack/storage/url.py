"""Where a store is and how it is reached: addresses, options, and which of them are secret.

    "s3://bucket/train" + storage_options --> Connection --connect()--> Client

A connection pickles without its secrets: an unpickled one finds them again in the same process and
in its forks; elsewhere the provider's own (environment, instance role, ...) must do.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from shardpack.errors import OptionError
from shardpack.runtime.arguments import as_number
from shardpack.storage.clients.base import Client

BUCKET_SCHEMES = frozenset(("s3", "s3a", "gs", "gcs", "az", "azure", "abfs", "abfss", "adl"))
WEB_SCHEMES = frozenset(("http", "https"))
CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0

# What may be written down. Everything else is taken for a secret: a new option of a library is not known here.
_HARMLESS = frozenset((
    "account_name", "allow_http", "anon", "bucket", "connect_timeout_seconds", "container", "default_region",
    "endpoint", "endpoint_url", "host", "port", "project", "read_timeout_seconds", "region", "repo_type",
    "requester_pays", "revision", "skip_signature", "unsigned_payload", "use_emulator", "username",
    "virtual_hosted_style_request",
))  # fmt: skip
_QUERY = re.compile(r"(\w+://[^\s?\"']+)\?[^\s\"']+")
_USER = re.compile(r"(\w+://)[^\s/@\"']+@")
_remembered: dict[str, Mapping[str, Any]] = {}  # secret options, by a token that tells nothing


@dataclass(frozen=True, slots=True)
class UrlConnection:
    """A place with a URL.

    Attributes:
        location: The URL without user, password and query.
        options: Of `storage_options`, what is no secret.
        token: Under which this process remembers the rest.
    """

    location: str
    options: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""

    def connect(self) -> Client:
        """Return a client; see `Connection.connect`.

        Raises:
            MissingDependencyError: An extra is not installed; names it.
            OptionError: An option is not known to the library below.
        """
        try:
            return self._connected({**self.options, **_remembered.get(self.token, {})})
        except OptionError as error:  # of a library below: it may quote a value
            raise OptionError(self.redact(str(error))) from None

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

        return FsspecClient(url, options)

    def redact(self, text: str) -> str:
        """Return a message without secrets: known values, queries and users of URLs."""
        for value in sorted(_strings(_remembered.get(self.token, {})), key=len, reverse=True):  # some may hold others
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
    host = parts.netloc.rpartition("@")[2]
    location = urlunsplit((parts.scheme, host, parts.path, "", ""))
    given = dict(options or {})
    hidden = {name: given.pop(name) for name in sorted(given) if name not in _HARMLESS or "@" in str(given[name])}
    if location != url:
        hidden[_FULL_URL] = url
    token = ""
    if hidden:
        token = secrets.token_hex(8)
        _remembered[token] = hidden
    return UrlConnection(location.rstrip("/"), given, token)


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether a location has a scheme, as s3://bucket has; a drive letter is none."""
    return "://" in os.fspath(location)


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
