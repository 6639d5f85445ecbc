"""From a URL and its options to a client that makes requests.

    "s3://bucket/train" + storage_options --connect_to--> UrlConnection --connect--> Client

A connection pickles without its secrets (`secret_options.py`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.context import get_spawning_popen
from typing import Any
from urllib.parse import urlsplit

from shardpack.errors import OptionError
from shardpack.runtime.arguments import as_number
from shardpack.storage.clients.client import Client
from shardpack.storage.secret_options import SecretOptions, find_secrets, is_secret, redact
from shardpack.storage.url import BUCKET_SCHEMES, WEB_SCHEMES

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
_FULL_URL = "full_url"  # a secret option: the URL with its user, password and query


@dataclass(frozen=True, slots=True)
class UrlConnection:
    """How to reach a location that has a URL. See `Connection`.

    Attributes:
        location: The URL without user, password and query.
        options: The `storage_options` that are not secret.
        token: Finds the secret options in this process; "" if there are none.
    """

    location: str
    options: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    _secrets: SecretOptions | None = field(default=None, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        sent = self._secrets.options if self._secrets and get_spawning_popen() is not None else None
        return (_rebuild, (self.location, self.options, self.token, sent))

    @property
    def advice(self) -> str:
        """What the user should do when access is denied."""
        if self.token and self._secrets is None:
            return (
                "secret storage_options are not pickled: open the dataset in this process, "
                "or set the credentials in its environment"
            )
        return "check the credentials, or pass storage_options"

    def connect(self) -> Client:
        """Return a client; see `Connection.connect`.

        Raises:
            MissingDependencyError: An extra is not installed; the message names it.
            OptionError: The library of the client does not know an option.
        """
        try:
            return _new_client(self.location, {**self.options, **self.secret_options()})
        except OptionError as error:  # a library may quote a value
            raise OptionError(self.redact(str(error))) from None

    def secret_options(self) -> Mapping[str, Any]:
        """Return the secret options, as far as this process has them."""
        return {} if self._secrets is None else self._secrets.options

    def redact(self, text: str) -> str:
        """Return a message without secrets: known values, queries and users of URLs."""
        return redact(text, self.secret_options())


def connect_to(url: str, options: Mapping[str, Any] | None = None) -> UrlConnection:
    """Return the connection to a folder of a bucket or server; makes no request.

    Raises:
        OptionError: The URL has no scheme or no host.
    """
    parts = urlsplit(url)
    if not parts.scheme or not (parts.netloc or parts.path.strip("/")):
        raise OptionError(f"not a URL of a folder: {redact(url, {})!r}; write it like s3://bucket/folder")
    location = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    public = dict(options or {})
    secret = {name: public.pop(name) for name in sorted(public) if is_secret(name, public[name])}
    if location != url:
        secret[_FULL_URL] = url
    if not secret:
        return UrlConnection(location.rstrip("/"), public)
    return _rebuild(location.rstrip("/"), public, secrets.token_hex(8), secret)


def _rebuild(location: str, options: Mapping[str, Any], token: str, secret: Mapping[str, Any] | None) -> UrlConnection:
    """Return a connection with the secrets that were sent along, or with those that this process holds."""
    return UrlConnection(location, options, token, find_secrets(token, secret))


def _new_client(location: str, options: dict[str, Any]) -> Client:
    """Return the client for a URL; imports only the library that it needs."""
    url = str(options.pop(_FULL_URL, location))
    connect_seconds = pop_number(options, "connect_timeout_seconds", CONNECT_SECONDS)
    read_seconds = pop_number(options, "read_timeout_seconds", READ_SECONDS)
    scheme, _, _ = url.partition("://")
    if scheme in BUCKET_SCHEMES:
        from shardpack.storage.clients.obstore import ObstoreClient

        return ObstoreClient.of_url(url, options, connect_seconds=connect_seconds, read_seconds=read_seconds)
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
        return HttpClient(base, query, headers, connect_seconds=connect_seconds, read_seconds=read_seconds)
    from shardpack.storage.clients.fsspec import FsspecClient

    return FsspecClient(url, options, connect_seconds=connect_seconds, read_seconds=read_seconds)


def pop_number(options: dict[str, Any], name: str, default: float) -> float:
    """Remove an option and return it as a number above 0; `default` if it is not set.

    Raises:
        OptionError: The option is not a number above 0.
    """
    return as_number(f"storage_options: {name}", options.pop(name, default))
