"""Group the members of a tar to samples as webdataset does (SPEC 2.4), and make the columns of its index."""

from __future__ import annotations

import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptShardError, FormatError, OptionError
from shardpack.format.assemble import build_index
from shardpack.format.checksum import crc32c
from shardpack.format.naming import split_name
from shardpack.format.shard_index import MAX_FIELDS, ShardIndex
from shardpack.format.tar_parser import Member

DEFAULT_IGNORE = ("._*",)  # AppleDouble: what macOS writes beside each file
MAX_MEMBERS = 1 << 26  # 32 GiB of headers; without a limit, an endless tar from a server would fill the memory
# webdataset sets these fields itself: with a member of such a name it fails, or loses the sample.
_RESERVED_FIELDS = frozenset(("__bad__", "__key__", "__local_path__", "__url__"))


@dataclass(frozen=True, slots=True, eq=False)
class IndexedTar:
    """The index of a tar, and counts of the files that are not in it.

    Attributes:
        name: Name of the tar.
        index: Index of its samples.
        without_key: How many files are part of no sample, as their names have no key and field.
        ignored: How many files each pattern matched; patterns that matched none are left out.
    """

    name: str
    index: ShardIndex
    without_key: int = 0
    ignored: Mapping[str, int] = field(default_factory=dict)


def check_ignore(ignore: Any) -> tuple[str, ...]:
    """Return the patterns of members to ignore as a tuple.

    Raises:
        OptionError: `ignore` is not a list of patterns.
    """
    if isinstance(ignore, str) or not isinstance(ignore, Sequence):
        raise OptionError(f"ignore is {ignore!r}, expected a list of patterns such as ['._*']")
    if wrong := [pattern for pattern in ignore if not isinstance(pattern, str) or not pattern]:
        raise OptionError(f"ignore holds {wrong[0]!r}, expected patterns such as '._*'")
    return tuple(ignore)


class MemberPattern:
    """A pattern for names in a tar (SPEC 2.4): for last components if it has no slash, else for whole names."""

    def __init__(self, pattern: str) -> None:
        self._parts = [re.compile(translate(part)) for part in pattern.split("/")]

    def matches(self, name: str) -> bool:
        """Return whether the name of a member matches the pattern."""
        if len(self._parts) == 1:
            return self._parts[0].match(name.rpartition("/")[2]) is not None
        components = name.split("/")
        return len(components) == len(self._parts) and all(
            part.match(component) for part, component in zip(self._parts, components, strict=True)
        )


class Grouping:
    """Make the index of one tar from the events of its parser.

    Memory: about 80 bytes per member, and the keys.
    """

    def __init__(
        self, name: str, ignore: Sequence[str], *, max_members: int = MAX_MEMBERS, max_fields: int = MAX_FIELDS
    ):
        self._name, self._max_members, self._max_fields = name, max_members, max_fields
        self._ignore = [(pattern, MemberPattern(pattern)) for pattern in ignore]
        self._keys: list[str] = []
        self._key: str | None = None
        self._offset_of_field: dict[str, int] = {}  # in the current sample
        self._fields: dict[str, int] = {}  # of the tar, numbered in the order found
        self._row, self._code = array("q"), array("q")
        self._data_offset, self._size = array("q"), array("q")
        self._header_bytes, self._crc32c = array("q"), array("q")
        self._without_key = 0
        self._ignored: dict[str, int] = {}
        self._checksum = -1  # of the payload being read; -1 if its member is not part of a sample

    def add(self, event: Member | memoryview) -> None:
        """Process the next event of a parser: a member, or a piece of its payload.

        Raises:
            CorruptShardError: A sample has a field twice or one that webdataset reserves, or the tar has
                too many members.
            FormatError: The tar has more different fields than an index can hold.
        """
        if isinstance(event, Member):
            self._end_payload()
            self._begin(event)
        elif self._checksum >= 0:
            self._checksum = crc32c(event, self._checksum)

    def _end_payload(self) -> None:
        if self._checksum >= 0:
            self._crc32c.append(self._checksum)
            self._checksum = -1

    def _begin(self, member: Member) -> None:
        for pattern, compiled in self._ignore:
            if compiled.matches(member.name):
                self._ignored[pattern] = self._ignored.get(pattern, 0) + 1
                return
        key_and_field = split_name(member.name)
        if key_and_field is None:
            self._without_key += 1
            return
        key, name = key_and_field
        if key != self._key:
            self._key = key
            self._keys.append(key)
            self._offset_of_field = {}
        self._check(key, name, member.member_offset)
        self._offset_of_field[name] = member.member_offset
        self._row.append(len(self._keys) - 1)
        self._code.append(self._fields.setdefault(name, len(self._fields)))
        self._data_offset.append(member.data_offset)
        self._size.append(member.size)
        self._header_bytes.append(member.header_bytes)
        self._checksum = 0

    def _check(self, key: str, name: str, offset: int) -> None:
        if name in _RESERVED_FIELDS:
            raise CorruptShardError(
                f"webdataset reserves the field {name!r} for itself; rename the file",
                shard=self._name,
                key=key,
                offset=offset,
            )
        if name in self._offset_of_field:
            raise CorruptShardError(
                f"sample has field {name!r} twice, first at {self._offset_of_field[name]}; rename one of the files",
                shard=self._name,
                key=key,
                offset=offset,
            )
        if len(self._row) >= self._max_members:
            raise CorruptShardError(
                f"tar has more than {self._max_members:,} members; split it", shard=self._name, offset=offset
            )
        if len(self._fields) >= self._max_fields and name not in self._fields:
            raise FormatError(
                f"tar has over {self._max_fields:,} different fields, such as {name[:80]!r}; rename the members so "
                'that they differ before the first dot, or ignore them: "shardpack index --ignore PATTERN"',
                shard=self._name,
                key=key,
                offset=offset,
            )

    def finish(self, end_of_data: int, *, num_bytes: int, shard_crc32c: int | None) -> IndexedTar:
        """Return the index of the members so far.

        Args:
            end_of_data: Where the end-of-archive blocks begin.
            num_bytes: Length of the tar.
            shard_crc32c: CRC32C of the whole tar, or None if not all of it was read; then the index has no
                checksums of payloads either.

        Raises:
            CorruptShardError: The tar has no samples.
            FormatError: The tar has more field names, or longer ones, than an index can hold.
        """
        self._end_payload()
        if not self._keys:
            raise self.no_samples()
        index = build_index(
            keys=self._keys,
            fields=list(self._fields),
            row=_view(self._row),
            code=_view(self._code),
            data_offset=_view(self._data_offset),
            size=_view(self._size),
            crc32c=None if shard_crc32c is None else _view(self._crc32c),
            header_bytes=_view(self._header_bytes),
            shard_bytes=num_bytes,
            shard_crc32c=shard_crc32c,
            end_of_data=end_of_data,
            ignored=sorted(self._ignored),
            shard=self._name,
        )
        return IndexedTar(self._name, index, self._without_key, dict(self._ignored))

    @property
    def is_empty(self) -> bool:
        """Whether no member so far belongs to a sample."""
        return not self._keys

    def no_samples(self) -> CorruptShardError:
        """Return the error for a tar that ends without a sample."""
        others = [f"{self._without_key} files without a key and a field"]
        others += [f"{count} files that match {pattern!r} and are ignored" for pattern, count in self._ignored.items()]
        return CorruptShardError(f"tar has no samples ({', '.join(others)}); leave this tar out", shard=self._name)


def _view(values: array[int]) -> npt.NDArray[np.int64]:
    return np.frombuffer(values, np.int64)
