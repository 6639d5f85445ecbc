"""The files of a small compressed tar, without unpacking it: each read inflates all that precedes the file.

For archives of a few files, such as that of CIFAR.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from shardpack.errors import ShardNotFoundError, SourceError
from shardpack.format.tar_parser import Member, TarParser
from shardpack.sources.archives.decompress import decompressed
from shardpack.sources.archives.names import problem_of, without_dot
from shardpack.storage.base_store import Wrapper, raise_truncated
from shardpack.storage.protocols import Store, Version

_COMPRESSED = re.compile(r".*\.(?:tar\.(?:gz|zst|bz2|xz)|tgz|tzst|tbz2|txz)", re.IGNORECASE | re.DOTALL)
_MAX_FILES = 10_000


def is_compressed_tar(name: str) -> bool:
    """Return whether a file is a compressed tar, by its name."""
    return _COMPRESSED.fullmatch(name) is not None


class TarStreamStore(Wrapper):
    """The files of one compressed tar in another store; its directory is read once, when it is made."""

    def __init__(self, base: Store, path: str) -> None:
        """List a compressed tar, which inflates all of it.

        Raises:
            SourceError: It is damaged, or has too many files.
        """
        super().__init__(base)
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}
        for event in self._events():
            if isinstance(event, Member) and problem_of(name := without_dot(event.name)) is None:
                self._members[name] = (event.data_offset, event.size)
                if len(self._members) > _MAX_FILES:
                    raise SourceError(f"more than {_MAX_FILES} files in a compressed tar; unpack it", path=path)

    def names(self) -> list[str]:
        """Return the names of the files, sorted."""
        return sorted(self._members)

    def size(self, path: str) -> int:
        return self._found(path)[1]

    def version(self, path: str) -> Version:
        """Return the length of a file, and the version of the tar."""
        archive = self._base.version(self._path)
        return Version(self.size(path), f"{archive.size} {archive.etag}")

    def get_range(self, path: str, *, start: int, length: int) -> bytes:
        """Return a part of a file. Inflates the tar up to there."""
        offset, size = self._found(path)
        if start + length > size:
            raise_truncated(path, start, length, size)
        skipped, parts, missing = offset + start, [], length
        for piece in decompressed(self._base, self._path):
            if skipped >= len(piece):
                skipped -= len(piece)
                continue
            part = piece[skipped : skipped + missing]
            skipped, missing = 0, missing - len(part)
            parts.append(part)
            if not missing:
                break
        return b"".join(parts)

    def _found(self, path: str) -> tuple[int, int]:
        if path not in self._members:
            raise ShardNotFoundError(f"no file {path!r} in {self._path!r}; check the name", path=path)
        return self._members[path]

    def _events(self) -> Iterator[Member | memoryview]:
        parser = TarParser(self._path)
        for piece in decompressed(self._base, self._path):
            yield from parser.feed(piece)
            if parser.finished:
                return
        parser.close()
