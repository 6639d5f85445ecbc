"""Upload objects and prove that the bytes that arrived are the bytes that were sent."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shardpack.errors import StorageError
from shardpack.format.checksum import crc32c
from shardpack.storage.protocols import WritableStore
from shardpack.storage.transfer import read_file, read_object

ATTEMPTS = 3
_MD5_ETAG = re.compile(r'"?([0-9a-f]{32})(?:-(\d+))?"?')


class Uploader:
    """Puts objects into a store and verifies each one after the upload. Safe in threads.

    An object is compared by its length, and by its ETag where that is an MD5, as in plain S3.
    Buckets that encrypt return ETags that only look like an MD5: the first object whose ETag differs is
    read back, and if its bytes are right, ETags are no longer compared.
    """

    def __init__(self, store: WritableStore) -> None:
        self._store = store
        self._compares_etags = True

    def put(self, name: str, source: bytes | Path, *, cache_control: str | None = None) -> None:
        """Store bytes or a local file; see `WritableStore.put`.

        Raises:
            StorageError: The store refused, or other bytes arrived in three attempts.
        """
        for _ in range(ATTEMPTS):
            self._store.put(name, source, cache_control=cache_control)
            if self._has_arrived(name, source):
                return
        self._store.delete(name)
        raise StorageError(
            f"cannot write {name!r}: other bytes arrive in {self._store.location!r} than were sent; "
            "check the network (or use https), then run the same command: it continues where it stopped",
            path=name,
        )

    def _has_arrived(self, name: str, source: bytes | Path) -> bool:
        num_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
        if self._store.size(name) != num_bytes:
            return False
        if not self._compares_etags:
            return True
        match = _MD5_ETAG.fullmatch(self._store.version(name).etag)
        if match is None or (match[1], match[2]) == self._expected_etag(source, has_parts=match[2] is not None):
            return True
        sent = _crc32c(read_file(source) if isinstance(source, Path) else [source])
        if sent != _crc32c(read_object(self._store, name, num_bytes)):
            return False
        self._compares_etags = False
        return True

    def _expected_etag(self, source: bytes | Path, *, has_parts: bool) -> tuple[str, str | None]:
        """Return the two halves of an S3 ETag: the MD5, or the MD5 of the parts' MD5s and the number of parts."""
        if isinstance(source, bytes):
            return _md5([source]).hex(), None
        if not has_parts:
            return _md5(read_file(source)).hex(), None
        digests = []
        with open(source, "rb") as file:
            while part := file.read(self._store.part_bytes):
                digests.append(_md5([part]))
        return _md5(digests).hex(), str(len(digests))


def _crc32c(pieces: Iterable[Any]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = crc32c(piece, checksum)
    return checksum


def _md5(pieces: Iterable[Any]) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
