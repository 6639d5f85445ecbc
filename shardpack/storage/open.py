"""From what users write to a store: folders, URLs of buckets and servers, names in memory."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import ceil
from typing import Any

from shardpack.errors import OptionError
from shardpack.runtime.sizes import format_bytes, parse_bytes
from shardpack.storage.cache.cached_store import CachedStore
from shardpack.storage.connection import connect_to, pop_number
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.remote import RemoteStore
from shardpack.storage.retry import RetryLimits
from shardpack.storage.session import RemoteLimits
from shardpack.storage.url import canonical, local_path

MIN_CACHE_BYTES = 64 << 20  # a long range arrives in pieces of 8 to 16 MiB, and no entry takes more than half
# Options that belong to the address of an object as its URL does.
_ADDRESS_OPTIONS = frozenset((
    "account_name", "bucket", "container", "endpoint", "endpoint_url", "host", "port", "project", "repo_type",
    "revision",
))  # fmt: skip

_in_memory: dict[str, MemoryStore] = {}  # what this process keeps as memory://...


Writable = str | os.PathLike[str] | WritableStore  # what users write to: a folder, a URL, or a store of theirs


def as_writable(out: Writable, options: Mapping[str, Any] | None = None) -> WritableStore:
    """Return a store as it is, and of a folder or URL the one that is there; see `open_store`.

    Raises:
        OptionError: It takes no objects, or does not list them; or there are options for a store.
    """
    if isinstance(out, (str, os.PathLike)):
        return open_store(out, options)
    if options:
        raise OptionError("storage_options are for URLs; give the store its own, or leave them out")
    if not takes_objects(out):
        raise OptionError(f"cannot write to {out!r}: this store takes no objects, or does not list them")
    return out


def takes_objects(store: object) -> bool:
    """Return whether a store has what writing a dataset needs."""
    return all(callable(getattr(store, verb, None)) for verb in ("put", "delete", "names"))


def is_same_store(one: Store, other: Store) -> bool:
    """Return whether two stores are one, by themselves or by where they are; memory without a name is only itself."""
    where = canonical(one.location)
    return one is other or (where == canonical(other.location) and not where.endswith("://"))


def open_store(location: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> WritableStore:
    """Return the store at a location; asks nothing of it yet.

    Args:
        location: A folder, or `file:///folder`; `s3://`, `gs://`, `az://`, `http(s)://`; `memory://`,
            which lives as long as this process; or a URL that fsspec has a driver for.
        options: Endpoint, region, credentials and what else the provider takes; besides
            `max_requests`, `max_attempts`, `max_seconds`, `connect_timeout_seconds` and
            `read_timeout_seconds`.

    Raises:
        OptionError: The URL or an option makes no sense.
    """
    location = os.fspath(location)
    folder = local_path(location)
    if folder is not None:
        if options:
            raise OptionError(f"storage_options are for URLs, and {location!r} is a folder; leave them out")
        return LocalStore(folder)
    if location.startswith("memory://"):
        name = location.rstrip("/")
        return _in_memory.setdefault(name, MemoryStore({}, location=name))
    given = dict(options or {})
    usual = RemoteLimits()
    limits = RemoteLimits(
        max_requests=ceil(pop_number(given, "max_requests", usual.max_requests)),
        retry=RetryLimits(
            max_attempts=ceil(pop_number(given, "max_attempts", usual.retry.max_attempts)),
            max_seconds=pop_number(given, "max_seconds", usual.retry.max_seconds),
        ),
    )
    return RemoteStore(connect_to(location, given), limits)


def with_cache(
    store: Store,
    folder: str | os.PathLike[str] | None,
    max_bytes: int | str | None,
    options: Mapping[str, Any] | None = None,
) -> Store:
    """Return a store that keeps what it reads in a folder; with neither folder nor limit, the store itself.

    Args:
        store: Of a bucket or server.
        folder: Where to keep it.
        max_bytes: Limit of the folder: a number of bytes, or like "50GB".
        options: Those that the store was opened with; some tell objects of one URL apart.

    Raises:
        OptionError: One of the two is missing, the limit is too low, or the store is local.
    """
    if folder is None and max_bytes is None:
        return store
    if folder is None or max_bytes is None:
        raise OptionError('cache_dir and cache_bytes belong together: a folder, and its limit, such as "50GB"')
    if not store.remote:
        raise OptionError(f"cache_dir is for buckets and servers; {store.location!r} is read in place, leave it out")
    limit = parse_bytes(max_bytes)
    if limit < MIN_CACHE_BYTES:
        raise OptionError(
            f"cache_bytes is {max_bytes!r}, expected at least {format_bytes(MIN_CACHE_BYTES)}: "
            "what is read at once must find room"
        )
    address = {name: value for name, value in (options or {}).items() if name in _ADDRESS_OPTIONS}
    return CachedStore(store, folder, limit, namespace=repr(sorted(address.items())) if address else "")
