"""Hashes of a tar and of its payloads, by reading it once from end to end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.export.indexes.shard_members import ShardMembers


@dataclass(frozen=True, slots=True)
class TarHashes:
    """Hashes of one tar, in hexadecimal.

    Attributes:
        sha256, md5: Of the file.
        git_sha1: Of the file as a blob of git.
        members: (m) SHA-256 of each payload, in tar order; empty if they were not asked for.
    """

    sha256: str
    md5: str
    git_sha1: str
    members: Sequence[str]


def hash_tar(pieces: Iterable[Any], num_bytes: int, members: ShardMembers | None = None) -> TarHashes:
    """Return the hashes of a tar.

    Args:
        pieces: The whole tar, in pieces.
        num_bytes: Its length.
        members: Its members, to hash their payloads as well.
    """
    whole = hashlib.sha256(), hashlib.md5(usedforsecurity=False), hashlib.sha1(usedforsecurity=False)
    whole[2].update(b"blob %d\0" % num_bytes)
    payloads = None if members is None else _PayloadHashes(members)
    for piece in pieces:
        for one in whole:
            one.update(piece)
        if payloads is not None:
            payloads.update(piece)
    sha256, md5, git_sha1 = (one.hexdigest() for one in whole)
    return TarHashes(sha256, md5, git_sha1, () if payloads is None else payloads.finish())


class _PayloadHashes:
    """Follows the pieces of a tar and hashes the payloads in it."""

    def __init__(self, members: ShardMembers) -> None:
        self._starts, self._sizes = members.data_offset.tolist(), members.size.tolist()
        self._position = 0
        self._hash = hashlib.sha256()  # of what has come of the payload that is next
        self._done: list[str] = []

    def update(self, piece: Any) -> None:
        view = memoryview(piece)
        begin, end = self._position, self._position + len(view)
        while len(self._done) < len(self._starts):
            start = self._starts[len(self._done)]
            stop = start + self._sizes[len(self._done)]
            if start < end:
                self._hash.update(view[max(start - begin, 0) : stop - begin])
            if stop > end or start > end:
                break
            self._next()
        self._position = end

    def _next(self) -> None:
        self._done.append(self._hash.hexdigest())
        self._hash = hashlib.sha256()

    def finish(self) -> list[str]:
        return self._done
