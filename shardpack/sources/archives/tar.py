"""The files of a plain tar, and those of the tars in it: each is a range of the outermost tar."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

from shardpack.errors import CorruptShardError, SourceError
from shardpack.format.tar_header import BLOCK
from shardpack.format.tar_parser import Member, TarParser
from shardpack.runtime.progress import Advance, no_advance
from shardpack.sources.archives.members import Members, Ranges
from shardpack.sources.archives.names import is_hidden
from shardpack.storage.protocols import Store

SUFFIX = ".tar"
MAX_MEMBERS = 50_000_000
_LOCAL_BYTES, _REMOTE_BYTES = 2 * BLOCK, 32 << 10  # read behind a payload that was skipped: a header, or several
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Span:
    """A tar: the bytes `begin <= i < end` of an object."""

    path: str
    begin: int
    end: int


def list_tar(store: Store, path: str, number: int, *, advance: Advance = no_advance) -> Members:
    """Return the files of a plain tar; those of tars in it are in folders called like these, without their ending.

    Payloads are skipped, except where they are small: costs a short read for each file, and where the store is
    remote a request for each that is larger than 32 KiB.

    Args:
        store: Store of the tar.
        path: Its path there.
        number: Number that references have for that store.
        advance: Called with the number of bytes that were read or skipped since the previous call.

    Raises:
        CorruptShardError: It is not a plain tar, or damaged or truncated.
        SourceError: It has too many members.
    """
    starts = array("q")
    members = Members(references=Ranges(number, path, starts))
    span = _Span(path, 0, store.size(path))
    for member in _members(store, span, members, advance):
        if _is_tar(member.name):
            inner = _Span(path, member.data_offset, member.data_offset + member.size)
            folder = member.name[: -len(SUFFIX)]
            for file in _members(store, inner, members, no_advance):
                _add(members, starts, f"{folder}/{file.name.removeprefix('./')}", file, path)
        else:
            _add(members, starts, member.name, member, path)
    return members


def _is_tar(name: str) -> bool:
    return name.lower().endswith(SUFFIX) and not is_hidden(name)


def _add(members: Members, starts: array[int], name: str, member: Member, path: str) -> None:
    if len(starts) >= MAX_MEMBERS:
        raise SourceError(f"more than {MAX_MEMBERS:,} files in one tar; split it", path=path)
    members.names.append(name)
    members.sizes.append(member.size)
    starts.append(member.data_offset)


def _members(store: Store, span: _Span, into: Members, advance: Advance) -> Iterator[Member]:
    """Yield the members of a tar, with their offsets in the object that it is in; links are counted as left out.

    Raises:
        CorruptShardError: The tar is damaged, truncated or compressed.
    """
    parser = TarParser(span.path, offset=span.begin)
    least = max(_REMOTE_BYTES if store.remote else _LOCAL_BYTES, store.merge_limits.max_gap_bytes)
    position, length = span.begin, 64 << 10
    while position < span.end and not parser.finished:
        data = store.get_range(span.path, start=position, length=min(length, span.end - position))
        for event in parser.feed(data):
            if isinstance(event, Member):
                if event.data_offset + event.size > span.end:
                    raise CorruptShardError(
                        f"tar is truncated: {event.name!r} ends behind it; download it again",
                        path=span.path,
                        offset=event.member_offset,
                    )
                yield event
        skipped = min(parser.to_skip, span.end - position - len(data))
        parser.skip(skipped)
        advance(len(data) + skipped)
        position += len(data) + skipped
        # While files are small, reading on costs less than seeking.
        length = min(2 * length, _MAX_BYTES) if skipped <= least else least
    parser.close()
    into.left_out += [(span.path, "a link in an archive")] * parser.num_links
