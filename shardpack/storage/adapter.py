"""`adapt` turns any object that can be read by ranges into a `Store`, the interface that the library works with.

    has every member of Store            --> itself
    has head and get, as obstore's       --> RemoteStore: retries, versions, many requests at once
    has get_range, get_ranges, size      --> AdaptedStore

What else an object offers is detected here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn, cast

from shardpack.errors import OptionError, ShardNotFoundError, ShardpackError, StorageError
from shardpack.storage.base_store import BaseStore, raise_truncated
from shardpack.storage.clients.obstore import StoreConnection
from shardpack.storage.protocols import RangeReader, Store
from shardpack.storage.remote import RemoteStore

_READS = ("get_range", "get_ranges", "size")
_OFFERS = (  # used where an object has them
    "remote", "prefetch_depth", "folder", "merge_limits", "checks_reads",
    "can_create", "part_bytes", "put", "create", "delete", "names",
)  # fmt: skip
_MEMBERS = frozenset(name for kind in Store.__mro__ for name in vars(kind) if not name.startswith("_"))
_MISSING_NAMES = frozenset(("NotFoundError", "KeyError", "FileNotFoundError", "NotADirectoryError"))


def can_adapt(store: object) -> bool:
    """Return whether `adapt` accepts an object."""
    return all(callable(getattr(store, name, None)) for name in _READS) or _is_obstore_like(store)


def adapt(store: object) -> Store:
    """Return an object with the full interface of a store; the object itself, if it already has it.

    Args:
        store: An object with `get_range`, `get_ranges` and `size`, or one of obstore's stores, which have
            `head` instead of `size`.

    Raises:
        OptionError: A method is missing; the message names it.
    """
    if all(hasattr(store, name) for name in _MEMBERS):
        return cast("Store", store)
    if _is_obstore_like(store):
        adapted = RemoteStore(StoreConnection(store))
        adapted.origin = store
        return adapted
    missing = [name for name in _READS if not callable(getattr(store, name, None))]
    if missing:
        raise OptionError(
            f"{type(store).__name__} is not a store: it has no {', '.join(missing)}; pass a folder or a URL"
        )
    return AdaptedStore(cast("RangeReader", store))


def origin_of(store: object) -> object:
    """Return the object that a store was adapted from; a store that was not adapted is its own origin."""
    return getattr(store, "origin", None) or store


def _is_obstore_like(store: object) -> bool:
    return all(callable(getattr(store, name, None)) for name in ("get", "get_range", "get_ranges", "head"))


class AdaptedStore(BaseStore):
    """A `RangeReader`, with the rest of the `Store` interface derived from its methods.

    Properties of a store and methods for writing are the object's own, where it has them. Safe in threads if the object
    is; pickles if the object does.
    """

    checks_reads = True  # the origin of its bytes is unknown
    can_create = False

    def __init__(self, base: RangeReader) -> None:
        super().__init__(str(getattr(base, "location", None) or f"<{type(base).__name__}>"))
        self._base = self.origin = base
        for name in _OFFERS:
            if hasattr(base, name):
                setattr(self, name, getattr(base, name))

    def __reduce__(self) -> tuple[type[AdaptedStore], tuple[RangeReader]]:
        return (AdaptedStore, (self._base,))

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a range, read by the object and checked for its length."""
        if not length:
            return b""
        try:
            data = self._base.get_range(path, start=start, length=length)
        except Exception as error:  # noqa: BLE001 - objects raise what they like
            self._raise(path, error, start=start, length=length)
        return self._checked(path, start, length, data)

    def get_ranges(self, path: str, *, starts: Sequence[int], lengths: Sequence[int]) -> list[bytes]:
        """Return the ranges, read by the object and checked for their lengths."""
        wanted = [i for i, length in enumerate(lengths) if length]
        results = [b""] * len(starts)
        if wanted:
            begins, counts = [starts[i] for i in wanted], [lengths[i] for i in wanted]
            try:
                buffers = self._base.get_ranges(path, starts=begins, lengths=counts)
            except Exception as error:  # noqa: BLE001
                furthest = max(wanted, key=lambda i: starts[i] + lengths[i])
                self._raise(path, error, start=starts[furthest], length=lengths[furthest])
            for i, data in zip(wanted, buffers, strict=True):
                results[i] = self._checked(path, starts[i], lengths[i], data)
        return results

    def size(self, path: str) -> int:
        try:
            return int(self._base.size(path))
        except Exception as error:  # noqa: BLE001
            self._raise(path, error)

    def close(self) -> None:
        if callable(close := getattr(self._base, "close", None)):
            close()

    def _checked(self, path: str, start: int, length: int, data: Any) -> bytes:
        if len(data) < length:
            raise_truncated(path, start, length, self.size(path))
        self.stats.add_requests(1, length)
        return data if type(data) is bytes else bytes(data)

    def _raise(self, path: str, error: Exception, *, start: int = 0, length: int = 0) -> NoReturn:
        """Raise our error for an error of the object, recognised by Python's own classes: others differ per library."""
        if isinstance(error, ShardpackError):
            raise error
        if any(kind.__name__ in _MISSING_NAMES for kind in type(error).__mro__):
            raise ShardNotFoundError(f"no object {path!r} in {self.location!r}; check the name", path=path) from error
        if length and start + length > (size := self.size(path)):
            raise_truncated(path, start, length, size)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise StorageError(f"cannot read {path!r} of {self.location!r}: {reason}", path=path) from error
