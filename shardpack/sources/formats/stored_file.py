"""A file of any store, as an object that libraries read from."""

from __future__ import annotations

from shardpack.runtime.range_file import RangeFile
from shardpack.storage.protocols import RangeReader


class StoredFile(RangeFile):
    """Reads an object by ranges, in order or by seeking."""

    def __init__(self, store: RangeReader, name: str) -> None:
        """Read an object of a store."""
        super().__init__(store.size(name))
        self._store, self._name = store, name

    def get_range(self, start: int, length: int) -> bytes:
        """Return some bytes of the object. Costs a request."""
        return bytes(self._store.get_range(self._name, start=start, length=length))
