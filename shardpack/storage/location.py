"""From what users write to a store: folders, URLs of buckets and servers, names in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from shardpack.errors import OptionError
from shardpack.storage.connection import connection_to, is_url
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocol import ObjectStore
from shardpack.storage.remote import RemoteLimits, RemoteStore
from shardpack.storage.retry import RetryLimits

_in_memory: dict[str, MemoryStore] = {}  # what this process keeps as memory://...


def open_store(location: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> ObjectStore:
    """Return the store at a location; asks nothing of it yet.

    Args:
        location: A folder; `s3://`, `gs://`, `az://`, `http(s)://`; `memory://`, which lives as long
            as this process; or a URL that fsspec has a driver for.
        options: Endpoint, region, credentials and what else the provider takes; besides
            `max_requests`, `max_attempts`, `max_seconds`, `connect_timeout_seconds` and
            `read_timeout_seconds`.

    Raises:
        OptionError: The URL or an option makes no sense.
    """
    location = os.fspath(location)
    if not is_url(location):
        if options:
            raise OptionError(f"storage_options are for URLs, and {location!r} is a folder; leave them out")
        return LocalStore(location)
    if location.startswith("memory://"):
        name = location.rstrip("/")
        return _in_memory.setdefault(name, MemoryStore({}, location=name))
    given = dict(options or {})
    usual = RemoteLimits()
    limits = RemoteLimits(
        max_requests=_positive(given, "max_requests", usual.max_requests),
        retry=RetryLimits(
            max_attempts=_positive(given, "max_attempts", usual.retry.max_attempts),
            max_seconds=_positive(given, "max_seconds", usual.retry.max_seconds),
        ),
    )
    return RemoteStore(connection_to(location, given), limits)


def _positive(options: dict[str, Any], name: str, default: Any) -> Any:
    value = options.pop(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
        raise OptionError(f"storage_options: {name} is {value!r}, expected a number above 0")
    return type(default)(value)
