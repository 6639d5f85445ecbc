"""Names of members as they stand in a tar that another tool wrote: our index has fields in lower case.

Reads headers, and no payload: by range, many at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shardpack.errors import StaleIndexError
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.format.naming import key_text
from shardpack.format.tar_header import BLOCK, MAX_NAME_BYTES, PREFIX, padded
from shardpack.format.tar_parser import Member, TarParser
from shardpack.index.scanner import Scanner, Tar
from shardpack.storage.protocols import Store

_HEADERS_AT_ONCE = 4096


def with_stored_names(members: ShardMembers, store: Store) -> ShardMembers:
    """Return the members under the names in their headers.

    Raises:
        StaleIndexError: A header is not that of the member.
    """
    names: list[str] = []
    lengths = (members.data_offset - members.header_offset).tolist()
    starts = members.header_offset.tolist()
    for begin in range(0, len(starts), _HEADERS_AT_ONCE):
        end = begin + _HEADERS_AT_ONCE
        headers = store.get_ranges(members.shard, starts=starts[begin:end], lengths=lengths[begin:end])
        expected = zip(members.names[begin:end], starts[begin:end], headers, strict=True)
        names += [_name_in(bytes(header), name, members.shard, start) for name, start, header in expected]
    return members.with_names(names)


def _name_in(header: bytes, expected: str, shard: str, offset: int) -> str:
    """Return the name in the headers of a member, which may differ from what is expected in case only."""
    if len(header) == BLOCK and not header[PREFIX]:
        name = key_text(header[:MAX_NAME_BYTES].partition(b"\0")[0])
    else:
        found = [event for event in TarParser(shard).feed(header) if isinstance(event, Member)]
        name = found[0].name if found else ""
    if name == expected or name.lower() == expected.lower():
        return name
    raise StaleIndexError(
        f"index does not match its shard: expected {expected!r}, got {name!r}; "
        'rebuild the index with "shardpack index --force"',
        shard=shard,
        offset=offset,
    )


def left_out(members: ShardMembers, store: Store) -> Iterator[str]:
    """Yield the names of files that stand between the members, and that no sample has. Reads headers only there."""
    ends = np.append(0, padded(members.data_offset + members.size))
    begins = np.append(members.header_offset, members.end_of_data)
    for gap in np.flatnonzero(begins > ends).tolist():
        begin, end = int(ends[gap]), int(begins[gap])
        tar = Tar(members.shard, end, request_bytes=0)
        scanner = Scanner(tar, begin=begin, stop=end, parser=TarParser(members.shard, offset=begin))
        while not scanner.done:
            start, length = scanner.next_range()
            scanner.feed(bytes(store.get_range(members.shard, start=start, length=length)))
        yield from (member.name for member in scanner.members)
