"""Open a store by what users write: folders, URLs of buckets and servers, names in memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Any, cast

from shardpack.errors import OptionError
from shardpack.runtime.sizes import format_bytes, parse_bytes
from shardpack.storage.adapter import adapt, can_adapt, origin_of
from shardpack.storage.cache.cached_store import CachedStore
from shardpack.storage.connection import connect_to, pop_number
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Store, WritableStore
from shardpack.storage.remote import RemoteStore
from shardpack.storage.retry import RetryLimits
from shardpack.storage.session import RemoteLimits
from shardpack.storage.url import canonical, local_path

MIN_CACHE_BYTES = 64 << 20  # long ranges arrive in pieces of 8 to 16 MiB, and an entry may take half of the limit
# Options that, like the URL, are part of an object's address.
_ADDRESS_OPTIONS = frozenset((
    "account_name", "bucket", "container", "endpoint", "endpoint_url", "host", "port", "project", "repo_type",
    "revision",
))  # fmt: skip

_in_memory: dict[str, MemoryStore] = {}  # the objects of this process under memory://...


Writable = str | os.PathLike[str] | WritableStore  # where users can write: a folder, a URL, or their own store


def as_writable(out: Writable, options: Mapping[str, Any] | None = None) -> WritableStore:
    """Return the store of a folder or URL, see `open_store`; or a given store, with the full interface, see `adapt`.

    Raises:
        OptionError: The store cannot be written to or listed, or `options` are given for a store.
    """
    if isinstance(out, (str, os.PathLike)):
        if not os.fspath(out):
            raise OptionError('the place to write to is "", which names nothing; "." is this folder')
        return open_store(out, options)
    if options:
        raise OptionError("storage_options are for URLs; give the store its own, or leave them out")
    store = adapt(out) if can_adapt(out) else out
    if not takes_objects(store):
        raise OptionError(
            f"cannot write to {out!r}: this store takes no objects, or does not list them; pass a folder or a URL"
        )
    return cast("WritableStore", store)


def takes_objects(store: object) -> bool:
    """Return whether a store has the methods that writing a dataset needs."""
    return all(callable(getattr(store, verb, None)) for verb in ("put", "delete", "names"))


def is_same_store(one: Store, other: Store) -> bool:
    """Return whether two stores are the same object or location; without a URL or folder, only the object counts."""
    if one.location.endswith("://") or one.location.startswith("<"):
        return origin_of(one) is origin_of(other)
    return one is other or canonical(one.location) == canonical(other.location)


def refuse_same_store(sources: Iterable[Store], target: Store) -> None:
    """Raise OptionError if the target is one of the sources: `force` would delete what is still to be read."""
    if any(is_same_store(source, target) for source in sources):
        raise OptionError(f"source and target are the same: {target.location!r}; name another target")


def open_store(location: str | os.PathLike[str], options: Mapping[str, Any] | None = None) -> WritableStore:
    """Return the store at a location; makes no request.

    Args:
        location: A folder, or `file:///folder`; `s3://`, `gs://`, `az://`, `http(s)://`; `memory://`,
            which exists as long as this process; or a URL that fsspec has a driver for.
        options: Endpoint, region, credentials and other options of the provider, and `max_requests`,
            `max_attempts`, `max_seconds`, `connect_timeout_seconds` and `read_timeout_seconds`.

    Raises:
        OptionError: The URL or an option is invalid.
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
    defaults = RemoteLimits()
    limits = RemoteLimits(
        max_requests=ceil(pop_number(given, "max_requests", defaults.max_requests)),
        retry=RetryLimits(
            max_attempts=ceil(pop_number(given, "max_attempts", defaults.retry.max_attempts)),
            max_seconds=pop_number(given, "max_seconds", defaults.retry.max_seconds),
        ),
    )
    return RemoteStore(connect_to(location, given), limits)


def with_cache(
    store: Store,
    folder: str | os.PathLike[str] | None,
    max_bytes: int | str | None,
    options: Mapping[str, Any] | None = None,
) -> Store:
    """Return a store that caches in a folder what it reads; with neither folder nor limit, the store itself.

    Args:
        store: The store of a bucket or server.
        folder: The folder of the cache.
        max_bytes: Its size limit: a number of bytes, or a text such as "50GB".
        options: The options that the store was opened with; some distinguish objects of the same URL.

    Raises:
        OptionError: Only one of folder and limit is given, the limit is too low, or the store is local.
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
            "it must hold what is read at once"
        )
    address = {name: value for name, value in (options or {}).items() if name in _ADDRESS_OPTIONS}
    return CachedStore(store, folder, limit, namespace=repr(sorted(address.items())) if address else "")
