"""The sidecar offset index of one shard: samples to byte ranges (SPEC 4).

`ShardIndex` is a value: plain numpy columns, usually views into a memory-mapped file. It has one
entry a member, so that its size is in proportion to the tar's members, whatever they are called.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError, FormatError
from shardpack.format import container
from shardpack.format.tar_header import BLOCK

SCHEMA = container.Schema(
    "shardpack-index",
    columns={
        "data_offset": "U64",
        "key_offset": "U64",
        "size": "U64",
        "crc32c": "U32",
        "header_bytes": "U32",
        "member_start": "U32",
        "field": "U16",
        "key_heap": "U8",
    },
    metadata=frozenset(("fields", "shard_bytes", "shard_crc32c", "end_of_data", "ignored")),
)
MAX_FIELDS = 1 << 16  # what a number in the column `field` can tell apart
MAX_SHARD_BYTES = (1 << 63) - 1  # so that data_offset + size never overflows 64 bits
_OTHER_HEADER_BYTES = 4096  # of the container's header, besides the field names
_FEW_FIELDS, _SHORT_NAMES_BYTES = 1000, 16 << 10  # they fit any header, escaped twice
_SPARSE = ("member_start", "field")
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})", re.ASCII)
_CHECKSUM = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """Columns of one shard: n samples in tar order, m members, f fields.

    Members are ordered by sample, then by field, in every column. Where each sample has each field
    (the index is "dense"), member k of sample i is number i * f + k, and the last two columns are
    None. All arrays are read-only and little-endian. Both checksums are None where the shard was
    indexed without reading its payloads.
    """

    fields: tuple[str, ...]  # sorted; each has a member
    key_offset: npt.NDArray[np.uint64]  # (n + 1) key i is key_heap[key_offset[i]:key_offset[i + 1]]
    key_heap: npt.NDArray[np.uint8]  # UTF-8, one key after the other
    data_offset: npt.NDArray[np.uint64]  # (m) first payload byte, from the shard's start
    size: npt.NDArray[np.uint64]  # (m) payload bytes
    crc32c: npt.NDArray[np.uint32] | None  # (m) of the payload
    header_bytes: npt.NDArray[np.uint32]  # (m) all headers of the member, just before data_offset
    member_start: npt.NDArray[np.uint32] | None  # (n + 1) sample i has the members member_start[i] ... [i + 1]
    field: npt.NDArray[np.uint16] | None  # (m) number of the member's field
    shard_bytes: int
    shard_crc32c: int | None
    end_of_data: int  # where the end-of-archive blocks begin
    ignored: tuple[str, ...] = ()  # patterns that files of the shard matched, which are in no sample (SPEC 2.4)

    @property
    def num_samples(self) -> int:
        """Number of rows."""
        return len(self.key_offset) - 1

    @property
    def num_members(self) -> int:
        """Number of payloads, over all samples."""
        return len(self.data_offset)

    @property
    def dense(self) -> bool:
        """Whether each sample has each field."""
        return self.member_start is None

    def members(self, row: int) -> range:
        """Return the numbers of one sample's members, ordered by field."""
        if self.member_start is None:
            width = len(self.fields)
            return range(row * width, (row + 1) * width)
        begin, end = self.member_start[row : row + 2].tolist()
        return range(begin, end)

    def field_of(self, member: int) -> str:
        """Return the name of one member's field."""
        return self.fields[member % len(self.fields) if self.field is None else int(self.field[member])]

    def row_of(self, member: int) -> int:
        """Return the number of the sample that has a member."""
        if self.member_start is None:
            return member // len(self.fields)
        return int(np.searchsorted(self.member_start, member, side="right")) - 1

    def pick(
        self, rows: npt.NDArray[np.int64], columns: Sequence[int] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (p) which of `rows` has it and (p) its number, for each member of some rows.

        Args:
            rows: In any order; repeats are fine.
            columns: Ascending numbers of the wanted fields; None for all.
        """
        if self.member_start is None:
            wanted = np.arange(len(self.fields)) if columns is None else np.asarray(columns, np.int64)
            members = (rows[:, None] * len(self.fields) + wanted).reshape(-1)
            return np.repeat(np.arange(len(rows)), len(wanted)), members
        begin = self.member_start[rows].astype(np.int64)
        counts = self.member_start[rows + 1] - begin
        owner = np.repeat(np.arange(len(rows)), counts)
        ends = np.cumsum(counts)
        members = np.arange(len(owner)) + np.repeat(begin - (ends - counts), counts)
        if columns is not None and self.field is not None:
            is_wanted = np.zeros(len(self.fields), bool)
            is_wanted[np.asarray(columns, np.int64)] = True
            chosen = is_wanted[self.field[members]]
            owner, members = owner[chosen], members[chosen]
        return owner, members

    def key(self, row: int) -> str:
        """Return the key of one sample."""
        begin, end = self.key_offset[row : row + 2].tolist()
        return self.key_heap[begin:end].tobytes().decode("utf-8", "surrogateescape")

    def keys(self) -> list[str]:
        """Return all keys in tar order."""
        text, ends = self.key_heap.tobytes(), self.key_offset.tolist()
        return [text[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(ends)]

    def samples_per_field(self) -> dict[str, int]:
        """Return how many samples have each field."""
        if self.field is None:
            return dict.fromkeys(self.fields, self.num_samples)
        counts = np.bincount(self.field, minlength=len(self.fields))
        return dict(zip(self.fields, counts.tolist(), strict=True))


def key_columns(keys: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    """Return the two key columns for keys given as UTF-8."""
    offsets = np.zeros(len(keys) + 1, np.uint64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    return {"key_offset": offsets, "key_heap": np.frombuffer(b"".join(keys), np.uint8)}


def check_field_names(fields: Sequence[str], *, shard: str | None = None, key: str | None = None) -> None:
    """Raise FormatError unless an index can hold these field names."""
    if len(fields) <= _FEW_FIELDS and sum(map(len, fields)) <= _SHORT_NAMES_BYTES:
        return
    if len(fields) <= MAX_FIELDS:
        length = len(json.dumps(_encode_names(fields)))
        if length <= container.MAX_HEADER_BYTES - _OTHER_HEADER_BYTES:
            return
        what = f"takes {length} bytes, limit {container.MAX_HEADER_BYTES - _OTHER_HEADER_BYTES}"
    else:
        what = f"has {len(fields)} names, limit {MAX_FIELDS}"
    raise FormatError(
        f"the list of different fields {what}: {', '.join(map(repr, fields[:3]))}, ...; "
        "rename the members so that what differs stands before the first dot, or leave them out (index: --ignore)",
        shard=shard,
        key=key,
    )


def encode_index(index: ShardIndex) -> list[bytes | memoryview]:
    """Return the index file as buffers to write one after the other; no column is copied.

    Raises:
        FormatError: The field names are too long for any reader.
    """
    metadata = container.metadata_of(
        SCHEMA,
        fields=_encode_names(index.fields),
        shard_bytes=str(index.shard_bytes),
        end_of_data=str(index.end_of_data),
    )
    if index.shard_crc32c is not None:
        metadata["shard_crc32c"] = f"{index.shard_crc32c:08x}"
    if index.ignored:
        metadata["ignored"] = _encode_names(index.ignored)
    columns = {name: getattr(index, name) for name in SCHEMA.columns}
    return container.encode({name: column for name, column in columns.items() if column is not None}, metadata)


def _encode_names(fields: Sequence[str]) -> str:
    return json.dumps(fields, separators=(",", ":"))


def parse_index(buffer: Any, *, name: str) -> ShardIndex:
    """Return the index in `buffer` as views of it, after checking that no offset leaves the shard.

    Costs a few passes over the columns (50 us for 10,000 samples of two fields) and no copy of them.

    Raises:
        CorruptIndexError: Any rule of SPEC 3 or 4 is broken.
        UnsupportedVersionError: The file is from a newer format version.
    """
    columns, metadata = container.parse(buffer, name=name, schema=SCHEMA)
    fields = parse_names(metadata.get("fields", ""), name)
    checksums = "shard_crc32c" in metadata
    index = ShardIndex(
        fields=fields,
        **_checked_columns(columns, len(fields), name, checksums=checksums),
        shard_bytes=_number(metadata, "shard_bytes", name),
        shard_crc32c=int(_text(metadata, "shard_crc32c", _CHECKSUM, name), 16) if checksums else None,
        end_of_data=_number(metadata, "end_of_data", name),
        ignored=parse_names(metadata["ignored"], name, "ignored patterns") if "ignored" in metadata else (),
    )
    _check_keys(index, name)
    _check_fields(index, name)
    _check_members(index, name)
    return index


def parse_names(text: str, name: str, what: str = "field names") -> tuple[str, ...]:
    """Return the field names, or other names, in a metadata value, checked to be sorted and different."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(f"has no list of {what}: {error}", name) from error
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise _broken(f"has no list of {what}", name)
    if len(names) > MAX_FIELDS:
        raise _broken(f"has {len(names)} {what}, limit {MAX_FIELDS}", name)
    if names != sorted(set(names)):
        raise _broken(f"has {what} that are not sorted, or stand twice", name)
    return tuple(names)


def _text(metadata: dict[str, str], what: str, pattern: re.Pattern[str], name: str) -> str:
    found = metadata.get(what, "")
    if not pattern.fullmatch(found):
        raise _broken(f"has a bad {what} {found[:24]!r}", name)
    return found


def _number(metadata: dict[str, str], what: str, name: str) -> int:
    number = int(_text(metadata, what, _DECIMAL, name))
    if number > MAX_SHARD_BYTES:
        raise _broken(f"has a bad {what} {number}, limit {MAX_SHARD_BYTES}", name)
    return number


def _checked_columns(
    columns: dict[str, npt.NDArray[Any]], num_fields: int, name: str, *, checksums: bool
) -> dict[str, Any]:
    """Return all columns, None for those that need not be there, after comparing their lengths."""
    expected = set(SCHEMA.columns)
    if not checksums:
        expected.remove("crc32c")
    if not columns.keys() & set(_SPARSE):
        expected.difference_update(_SPARSE)
    if columns.keys() != expected:
        raise _broken(f"has the columns {sorted(columns)}, expected {sorted(expected)}", name)
    if columns["key_offset"].ndim != 1 or not len(columns["key_offset"]):
        raise _broken("has no column 'key_offset' of one number a sample and one more", name)
    num_samples = len(columns["key_offset"]) - 1
    num_members = len(columns["field"]) if "field" in columns else num_samples * num_fields
    lengths = {"key_offset": num_samples + 1, "member_start": num_samples + 1, "key_heap": len(columns["key_heap"])}
    for column, array in columns.items():
        shape = (lengths.get(column, num_members),)
        if array.shape != shape:
            raise _broken(f"has a column {column!r} of shape {array.shape}, expected {shape}", name)
    return {column: columns.get(column) for column in SCHEMA.columns}


def _check_keys(index: ShardIndex, name: str) -> None:
    offsets, heap_bytes = index.key_offset, len(index.key_heap)
    if int(offsets[0]) != 0 or int(offsets[-1]) != heap_bytes or bool((offsets[1:] < offsets[:-1]).any()):
        raise _broken(f"has key offsets that do not ascend from 0 to {heap_bytes}", name)


def _check_fields(index: ShardIndex, name: str) -> None:
    """Check that each sample has a field, each field a sample, and no sample a field twice."""
    start, field = index.member_start, index.field
    if start is None or field is None:
        if bool(index.num_samples) != bool(index.fields):
            raise _broken("has samples without any field, or fields without a sample", name)
        return
    if int(start[0]) != 0 or int(start[-1]) != index.num_members or bool((start[1:] <= start[:-1]).any()):
        raise _broken("has samples without any field, or member numbers that do not ascend", name)
    counts = np.bincount(field, minlength=len(index.fields))
    if len(counts) > len(index.fields) or not counts.all():
        raise _broken(f"has members of other fields than its {len(index.fields)}, or a field without a member", name)
    begins_sample = np.zeros(index.num_members, bool)
    begins_sample[start[:-1]] = True
    if not (begins_sample[1:] | (field[1:] > field[:-1])).all():
        raise _broken("has a sample whose fields are not sorted, or stand twice", name)


def _check_members(index: ShardIndex, name: str) -> None:
    """Check that members lie one behind the other in the shard, in the order of their rows."""
    end_of_data = index.end_of_data
    if end_of_data > index.shard_bytes or end_of_data % BLOCK:
        raise _broken(f"has data up to {end_of_data} in a shard of {index.shard_bytes} bytes", name)
    offset, size, headers = index.data_offset, index.size, index.header_bytes
    if not len(offset):
        return
    # Each alone first: their sum could overflow.
    if max(int(offset.max()), int(size.max())) > end_of_data or int((offset + size).max()) > end_of_data:
        raise _broken(f"points beyond the data of its shard, which end at {end_of_data}", name)
    if (int(np.bitwise_or.reduce(offset)) | int(np.bitwise_or.reduce(headers))) % BLOCK or not headers.min():
        raise _broken(f"has offsets or headers that are not whole blocks of {BLOCK} bytes", name)
    if _one_behind_the_other(offset, size, headers):
        return
    # Other tools do not sort the fields within a sample.
    order = np.argsort(offset, kind="stable")
    row = order // len(index.fields) if index.member_start is None else _rows(index)[order]
    if bool((row[1:] < row[:-1]).any()) or not _one_behind_the_other(offset[order], size[order], headers[order]):
        raise _broken("has members that overlap, or stand in another order than their samples", name)


def _rows(index: ShardIndex) -> npt.NDArray[np.int64]:
    assert index.member_start is not None
    ends = index.member_start[1:].astype(np.int64)
    return np.repeat(np.arange(index.num_samples), ends - index.member_start[:-1])


def _one_behind_the_other(offset: npt.NDArray[Any], size: npt.NDArray[Any], headers: npt.NDArray[Any]) -> bool:
    return int(headers[0]) <= int(offset[0]) and not (offset[1:] < (offset + size)[:-1] + headers[1:]).any()


def _broken(what: str, name: str) -> CorruptIndexError:
    return CorruptIndexError(f'index {what}; rebuild it with "shardpack index --force"', path=name)
