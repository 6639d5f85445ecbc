"""The index of one shard: samples to byte ranges (SPEC 4).

`ShardIndex` is a value made of numpy columns, usually views of a memory-mapped file. Its columns have
one entry per member, so its size is proportional to the number of members, whatever their names.
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

from shardpack.errors import FormatError, UnsupportedVersionError
from shardpack.format import container
from shardpack.format.container import encode_names, index_error
from shardpack.format.frames import MAX_FRAME_BYTES, MAX_FRAMES, Frames
from shardpack.format.key_index import hash_key
from shardpack.format.naming import key_text
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
        "frame_start": "U64",
        "frame_data": "U64",
    },
    metadata=frozenset(("fields", "shard_bytes", "shard_crc32c", "end_of_data", "ignored", "compression")),
)
MAX_FIELDS = 1 << 16  # the column `field` is 16 bits wide
MAX_SHARD_BYTES = (1 << 63) - 1  # keeps data_offset + size within 64 bits
_OTHER_HEADER_BYTES = 4096  # room for the rest of the container's header, besides the field names
_FEW_FIELDS, _SHORT_NAMES_BYTES = 1000, 16 << 10  # they fit any header, escaped twice
_SPARSE = ("member_start", "field")
_FRAMES = ("frame_start", "frame_data")
_COMPRESSION = "zstd"  # of shards with frames
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})", re.ASCII)
_CHECKSUM = re.compile(r"[0-9a-f]{8}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """Columns of one shard: n samples in tar order, m members, f fields.

    Members are ordered by sample, then by field, in every column. If each sample has each field
    (the index is "dense"), member k of sample i is number i * f + k, and `member_start` and `field` are
    None. All arrays are read-only and little-endian. Both checksums are None if the shard was indexed
    without reading its payloads.
    """

    fields: tuple[str, ...]  # sorted; each has at least one member
    key_offset: npt.NDArray[np.uint64]  # (n + 1) key i is key_heap[key_offset[i]:key_offset[i + 1]]
    key_heap: npt.NDArray[np.uint8]  # all keys, concatenated, UTF-8
    data_offset: npt.NDArray[np.uint64]  # (m) offset of the payload in the shard
    size: npt.NDArray[np.uint64]  # (m) length of the payload
    crc32c: npt.NDArray[np.uint32] | None  # (m) of the payload
    header_bytes: npt.NDArray[np.uint32]  # (m) length of all headers of the member, which end at data_offset
    member_start: npt.NDArray[np.uint32] | None  # (n + 1) members of sample i: member_start[i] to [i + 1]
    field: npt.NDArray[np.uint16] | None  # (m) index into `fields`
    shard_bytes: int  # of the file, compressed where it is
    shard_crc32c: int | None
    end_of_data: int  # offset of the end-of-archive blocks in the plain tar
    ignored: tuple[str, ...] = ()  # patterns whose files were left out of the samples (SPEC 2.4)
    frames: Frames | None = None  # of a compressed shard; all other offsets are those of the plain tar

    @property
    def num_samples(self) -> int:
        """Number of samples (rows)."""
        return len(self.key_offset) - 1

    @property
    def num_members(self) -> int:
        """Number of members over all samples."""
        return len(self.data_offset)

    @property
    def plain_bytes(self) -> int:
        """Length of the tar, decompressed if it is compressed."""
        return self.shard_bytes if self.frames is None else self.frames.plain_bytes

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
        """Return the row of the sample that a member belongs to."""
        if self.member_start is None:
            return member // len(self.fields)
        return int(np.searchsorted(self.member_start, member, side="right")) - 1

    def pick(
        self, rows: npt.NDArray[np.int64], columns: Sequence[int] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the members of some rows, as (owner, member) of shape (p): member i belongs to rows[owner[i]].

        Args:
            rows: Rows in any order; repeats are allowed.
            columns: Ascending indexes into `fields` of the wanted fields, or None for all.
        """
        if self.member_start is None:
            wanted = np.arange(len(self.fields)) if columns is None else np.asarray(columns, np.int64)
            members = (rows[:, None] * len(self.fields) + wanted).reshape(-1)
            owner = np.arange(len(rows))
            return owner if len(wanted) == 1 else np.repeat(owner, len(wanted)), members
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
        return key_text(self.key_heap[begin:end].tobytes())

    def keys(self) -> list[str]:
        """Return all keys in tar order."""
        text, ends = self.key_heap.tobytes(), self.key_offset.tolist()
        return [key_text(text[a:b]) for a, b in pairwise(ends)]

    def key_hashes(self) -> npt.NDArray[np.uint64]:
        """Return the hashes of all keys, for the key index."""
        heap = self.key_heap.tobytes()
        hashes = (hash_key(heap[begin:end]) for begin, end in pairwise(self.key_offset.tolist()))
        return np.fromiter(hashes, np.uint64, self.num_samples)

    def samples_per_field(self) -> dict[str, int]:
        """Return how many samples have each field."""
        if self.field is None:
            return dict.fromkeys(self.fields, self.num_samples)
        counts = np.bincount(self.field, minlength=len(self.fields))
        return dict(zip(self.fields, counts.tolist(), strict=True))


def key_columns(keys: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    """Return the columns `key_offset` and `key_heap` of keys given as UTF-8."""
    offsets = np.zeros(len(keys) + 1, np.uint64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    return {"key_offset": offsets, "key_heap": np.frombuffer(b"".join(keys), np.uint8)}


def check_field_names(fields: Sequence[str], *, shard: str | None = None, key: str | None = None) -> None:
    """Raise FormatError unless an index can hold these field names."""
    if len(fields) <= _FEW_FIELDS and sum(map(len, fields)) <= _SHORT_NAMES_BYTES:
        return
    if len(fields) <= MAX_FIELDS:
        length = len(json.dumps(encode_names(fields)))
        if length <= container.MAX_HEADER_BYTES - _OTHER_HEADER_BYTES:
            return
        what = f"takes {length} bytes, limit {container.MAX_HEADER_BYTES - _OTHER_HEADER_BYTES}"
    else:
        what = f"has {len(fields)} names, limit {MAX_FIELDS}"
    raise FormatError(
        f"the list of different fields {what}: {', '.join(map(repr, fields[:3]))}, ...; "
        "rename the members so that they differ before the first dot, or leave them out (index: --ignore)",
        shard=shard,
        key=key,
    )


def encode_index(index: ShardIndex) -> list[bytes | memoryview]:
    """Return the index file as buffers to write in order; no column is copied.

    Raises:
        FormatError: The field names are longer than a header may be.
    """
    metadata = container.metadata_of(
        SCHEMA,
        fields=encode_names(index.fields),
        shard_bytes=str(index.shard_bytes),
        end_of_data=str(index.end_of_data),
    )
    if index.shard_crc32c is not None:
        metadata["shard_crc32c"] = f"{index.shard_crc32c:08x}"
    if index.ignored:
        metadata["ignored"] = encode_names(index.ignored)
    columns = {name: getattr(index, name) for name in SCHEMA.columns if name not in _FRAMES}
    if index.frames is not None:
        metadata["compression"] = _COMPRESSION
        columns.update(frame_start=index.frames.stored, frame_data=index.frames.plain)
    return container.encode({name: column for name, column in columns.items() if column is not None}, metadata)


def parse_index(buffer: Any, *, name: str) -> ShardIndex:
    """Return the index in `buffer` as views of it, after checking that no offset is outside the shard.

    Makes a few passes over the columns (50 us for 10,000 samples of two fields) and does not copy them.
    `name` is the path that errors report.

    Raises:
        CorruptIndexError: A rule of SPEC 3 or 4 is broken.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    columns, metadata = container.parse(buffer, name=name, schema=SCHEMA)
    fields = parse_names(metadata.get("fields", ""), name)
    checksums = "shard_crc32c" in metadata
    shard_bytes = _number(metadata, "shard_bytes", name)
    frames = _checked_frames(columns, metadata, shard_bytes, name)
    index = ShardIndex(
        fields=fields,
        **_checked_columns(columns, len(fields), name, checksums=checksums),
        shard_bytes=shard_bytes,
        shard_crc32c=int(_text(metadata, "shard_crc32c", _CHECKSUM, name), 16) if checksums else None,
        end_of_data=_number(metadata, "end_of_data", name),
        ignored=parse_names(metadata["ignored"], name, "ignored patterns") if "ignored" in metadata else (),
        frames=frames,
    )
    _check_keys(index, name)
    _check_fields(index, name)
    _check_members(index, name)
    return index


def parse_names(text: str, name: str, what: str = "field names") -> tuple[str, ...]:
    """Return the names in a metadata value, after checking that they are sorted and distinct."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise index_error(f"has no list of {what}: {error}", name) from error
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise index_error(f"has no list of {what}", name)
    if len(names) > MAX_FIELDS:
        raise index_error(f"has {len(names)} {what}, limit {MAX_FIELDS}", name)
    if names != sorted(set(names)):
        raise index_error(f"has {what} that are not sorted, or repeat", name)
    return tuple(names)


def _text(metadata: dict[str, str], what: str, pattern: re.Pattern[str], name: str) -> str:
    text = metadata.get(what, "")
    if not pattern.fullmatch(text):
        raise index_error(f"has a bad {what} {text[:24]!r}", name)
    return text


def _number(metadata: dict[str, str], what: str, name: str) -> int:
    number = int(_text(metadata, what, _DECIMAL, name))
    if number > MAX_SHARD_BYTES:
        raise index_error(f"has a bad {what} {number}, limit {MAX_SHARD_BYTES}", name)
    return number


def _checked_frames(
    columns: dict[str, npt.NDArray[Any]], metadata: dict[str, str], shard_bytes: int, name: str
) -> Frames | None:
    """Take the columns of a compressed shard out of `columns` and return them; None if the shard is a plain tar."""
    compression = metadata.get("compression")
    found = {column: columns.pop(column) for column in _FRAMES if column in columns}
    if compression is None and not found:
        return None
    if compression not in (None, _COMPRESSION):
        raise UnsupportedVersionError(
            f"index says that its shard is compressed with {compression[:24]!r}, which this version of shardpack does "
            "not know; upgrade shardpack",
            path=name,
        )
    if compression is None or len(found) < len(_FRAMES):
        raise index_error("has only one or two of compression, 'frame_start' and 'frame_data'", name)
    start, data = found.values()
    if start.ndim != 1 or start.shape != data.shape or not 2 <= len(start) <= MAX_FRAMES + 1:
        raise index_error(f"has frames of shape {start.shape} and {data.shape}, expected two columns alike", name)
    ascends = bool((start[1:] > start[:-1]).all()) and bool((data[1:] > data[:-1]).all())
    if not ascends or int(start[-1]) > shard_bytes or int(data[0]) != 0:
        raise index_error(f"has frames that do not ascend within a shard of {shard_bytes} bytes", name)
    if int(np.diff(data).max()) > MAX_FRAME_BYTES or int(data[-1]) > MAX_SHARD_BYTES:
        raise index_error(f"has a frame that holds more than {MAX_FRAME_BYTES} bytes, or a tar that is too long", name)
    return Frames(start, data)


def _checked_columns(
    columns: dict[str, npt.NDArray[Any]], num_fields: int, name: str, *, checksums: bool
) -> dict[str, Any]:
    """Return all columns, None for optional ones that are absent, after comparing their lengths."""
    expected = set(SCHEMA.columns).difference(_FRAMES)
    if not checksums:
        expected.remove("crc32c")
    if not columns.keys() & set(_SPARSE):
        expected.difference_update(_SPARSE)
    if columns.keys() != expected:
        raise index_error(f"has the columns {sorted(columns)}, expected {sorted(expected)}", name)
    if columns["key_offset"].ndim != 1 or not len(columns["key_offset"]):
        raise index_error("has a column 'key_offset' that is empty or not one-dimensional", name)
    num_samples = len(columns["key_offset"]) - 1
    num_members = len(columns["field"]) if "field" in columns else num_samples * num_fields
    lengths = {"key_offset": num_samples + 1, "member_start": num_samples + 1, "key_heap": len(columns["key_heap"])}
    for column, array in columns.items():
        shape = (lengths.get(column, num_members),)
        if array.shape != shape:
            raise index_error(f"has a column {column!r} of shape {array.shape}, expected {shape}", name)
    return {column: columns.get(column) for column in SCHEMA.columns if column not in _FRAMES}


def _check_keys(index: ShardIndex, name: str) -> None:
    offsets, heap_bytes = index.key_offset, len(index.key_heap)
    if int(offsets[0]) != 0 or int(offsets[-1]) != heap_bytes or bool((offsets[1:] < offsets[:-1]).any()):
        raise index_error(f"has key offsets that do not ascend from 0 to {heap_bytes}", name)


def _check_fields(index: ShardIndex, name: str) -> None:
    """Check that each sample has a field, each field has a sample, and no sample has a field twice."""
    start, field = index.member_start, index.field
    if start is None or field is None:
        if bool(index.num_samples) != bool(index.fields):
            raise index_error("has samples without any field, or fields without a sample", name)
        return
    if int(start[0]) != 0 or int(start[-1]) != index.num_members or bool((start[1:] <= start[:-1]).any()):
        raise index_error("has samples without any field, or member numbers that do not ascend", name)
    counts = np.bincount(field, minlength=len(index.fields))
    if len(counts) > len(index.fields) or not counts.all():
        raise index_error(
            f"has members of other fields than its {len(index.fields)}, or a field without a member", name
        )
    begins_sample = np.zeros(index.num_members, bool)
    begins_sample[start[:-1]] = True
    if not (begins_sample[1:] | (field[1:] > field[:-1])).all():
        raise index_error("has a sample whose fields are not sorted, or repeat", name)


def _check_members(index: ShardIndex, name: str) -> None:
    """Check that members follow one another in the shard, in the order of their rows, without overlap."""
    end_of_data = index.end_of_data
    if end_of_data > index.plain_bytes or end_of_data % BLOCK:
        raise index_error(f"has data up to {end_of_data} in a shard of {index.plain_bytes} bytes", name)
    offset, size, headers = index.data_offset, index.size, index.header_bytes
    if not len(offset):
        return
    # Each is bounded first, as their sum could overflow.
    ends = offset + size
    if max(int(offset.max()), int(size.max())) > end_of_data or int(ends.max()) > end_of_data:
        raise index_error(f"points beyond the data of its shard, which ends at {end_of_data}", name)
    if (int(np.bitwise_or.reduce(offset)) | int(np.bitwise_or.reduce(headers))) % BLOCK or not headers.min():
        raise index_error(f"has offsets or headers that are not whole blocks of {BLOCK} bytes", name)
    if _do_not_overlap(offset, ends, headers):
        return
    # Shards of other tools need not have the fields of a sample sorted.
    order = np.argsort(offset, kind="stable")
    row = order // len(index.fields) if index.member_start is None else _rows(index)[order]
    if bool((row[1:] < row[:-1]).any()) or not _do_not_overlap(offset[order], ends[order], headers[order]):
        raise index_error("has members that overlap, or are in another order than their samples", name)


def _rows(index: ShardIndex) -> npt.NDArray[np.int64]:
    assert index.member_start is not None
    ends = index.member_start[1:].astype(np.int64)
    return np.repeat(np.arange(index.num_samples), ends - index.member_start[:-1])


def _do_not_overlap(offset: npt.NDArray[Any], ends: npt.NDArray[Any], headers: npt.NDArray[Any]) -> bool:
    return int(headers[0]) <= int(offset[0]) and not (offset[1:] < ends[:-1] + headers[1:]).any()
