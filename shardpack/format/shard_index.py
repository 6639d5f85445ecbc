"""The sidecar offset index of one shard: samples to byte ranges (SPEC 4).

`ShardIndex` is a value: plain numpy columns, usually views into a memory-mapped file.
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

from shardpack.errors import CorruptIndexError
from shardpack.format import container as safetensors
from shardpack.format.tar_header import BLOCK

FORMAT_NAME = "shardpack-index"
FORMAT_VERSION = 1
# Every sample has a cell for every field, so a tar whose samples all have fields of their own
# ("img.2024.01.02.jpg" has "2024.01.02.jpg") would take the square of its length.
MAX_FIELDS = 1024
MAX_SHARD_BYTES = (1 << 63) - 1  # so that data_offset + size never overflows 64 bits


@dataclass(frozen=True, slots=True, eq=False)
class ShardIndex:
    """Columns of one shard; n samples in tar order, f fields in sorted order.

    All arrays are read-only and little-endian. Absent fields hold zeros in every column. Both
    checksums are None where the shard was indexed without reading its payloads.
    """

    fields: tuple[str, ...]
    data_offset: npt.NDArray[np.uint64]  # (n, f) first payload byte, from the shard's start
    size: npt.NDArray[np.uint64]  # (n, f) payload bytes
    crc32c: npt.NDArray[np.uint32] | None  # (n, f) of the payload
    header_bytes: npt.NDArray[np.uint32]  # (n, f) all headers of the member, just before data_offset
    present: npt.NDArray[np.uint8]  # (n, f) 1 if the sample has the field
    key_offset: npt.NDArray[np.uint64]  # (n + 1,) key i is key_heap[key_offset[i]:key_offset[i + 1]]
    key_heap: npt.NDArray[np.uint8]  # UTF-8, one key after the other
    shard_bytes: int
    shard_crc32c: int | None
    end_of_data: int  # where the end-of-archive blocks begin

    @property
    def num_samples(self) -> int:
        """Number of rows."""
        return len(self.data_offset)

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
        return dict(zip(self.fields, self.present.sum(axis=0, dtype=np.int64).tolist(), strict=True))


# Column -> (dtype, number of dimensions).
_COLUMNS: dict[str, tuple[npt.DTypeLike, int]] = {
    "data_offset": (np.dtype("<u8"), 2),
    "size": (np.dtype("<u8"), 2),
    "crc32c": (np.dtype("<u4"), 2),
    "header_bytes": (np.dtype("<u4"), 2),
    "present": (np.dtype("u1"), 2),
    "key_offset": (np.dtype("<u8"), 1),
    "key_heap": (np.dtype("u1"), 1),
}
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,18})", re.ASCII)
_CHECKSUM = re.compile(r"[0-9a-f]{8}", re.ASCII)


def key_columns(keys: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    """Return the two key columns for keys given as UTF-8."""
    offsets = np.zeros(len(keys) + 1, np.uint64)
    np.cumsum([len(key) for key in keys], out=offsets[1:])
    return {"key_offset": offsets, "key_heap": np.frombuffer(b"".join(keys), np.uint8)}


def encode_index(index: ShardIndex) -> list[bytes | memoryview]:
    """Return the index file as buffers to write one after the other.

    Raises:
        FormatError: The field names are too long for any reader.
    """
    metadata = {
        "format": FORMAT_NAME,
        "version": str(FORMAT_VERSION),
        "fields": json.dumps(index.fields, separators=(",", ":")),
        "shard_bytes": str(index.shard_bytes),
        "end_of_data": str(index.end_of_data),
    }
    columns = {name: getattr(index, name) for name in _COLUMNS}
    if index.shard_crc32c is None:
        del columns["crc32c"]
    else:
        metadata["shard_crc32c"] = f"{index.shard_crc32c:08x}"
    return safetensors.encode(columns, metadata)


def parse_index(buffer: Any, *, name: str) -> ShardIndex:
    """Return the index in `buffer` as views of it, after checking that no offset leaves the shard.

    Costs a few passes over the columns (50 us for 10,000 samples of two fields) and no copy of them.

    Raises:
        CorruptIndexError: Any rule of SPEC 3 or 4 is broken.
        UnsupportedVersionError: The file is from a newer format version.
    """
    columns, metadata = safetensors.parse(buffer, name=name, kind=FORMAT_NAME, version=FORMAT_VERSION)
    fields = _fields(metadata.get("fields", ""), name)
    checksums = "shard_crc32c" in metadata
    index = ShardIndex(
        fields=fields,
        **_checked_columns(columns, len(fields), name, checksums=checksums),
        shard_bytes=_number(metadata, "shard_bytes", name),
        shard_crc32c=int(_text(metadata, "shard_crc32c", _CHECKSUM, name), 16) if checksums else None,
        end_of_data=_number(metadata, "end_of_data", name),
    )
    _check_keys(index, name)
    _check_members(index, name)
    return index


def _fields(text: str, name: str) -> tuple[str, ...]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _broken(f"has no list of field names: {error}", name) from error
    if not isinstance(fields, list) or not all(isinstance(field, str) for field in fields):
        raise _broken("has no list of field names", name)
    if len(fields) > MAX_FIELDS:
        raise _broken(f"has {len(fields)} fields, limit {MAX_FIELDS}", name)
    if fields != sorted(set(fields)):
        raise _broken("has fields that are not sorted, or stand twice", name)
    return tuple(fields)


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
    kinds = {column: kind for column, kind in _COLUMNS.items() if checksums or column != "crc32c"}
    if columns.keys() != kinds.keys():
        raise _broken(f"has the columns {sorted(columns)}, expected {sorted(kinds)}", name)
    if columns["key_offset"].ndim != 1 or not len(columns["key_offset"]):
        raise _broken("has no column 'key_offset' of one number a sample and one more", name)
    num_samples = len(columns["key_offset"]) - 1
    for column, (dtype, ndim) in kinds.items():
        array = columns[column]
        expected = (num_samples, num_fields) if ndim == 2 else array.shape
        if array.ndim != ndim or array.shape != expected or array.dtype != dtype:
            raise _broken(f"has a column {column!r} of {array.dtype} {array.shape}, expected {dtype} {expected}", name)
    return columns if checksums else {**columns, "crc32c": None}


def _check_keys(index: ShardIndex, name: str) -> None:
    offsets, heap_bytes = index.key_offset, len(index.key_heap)
    if int(offsets[0]) != 0 or int(offsets[-1]) != heap_bytes or bool((offsets[1:] < offsets[:-1]).any()):
        raise _broken(f"has key offsets that do not ascend from 0 to {heap_bytes}", name)


def _check_members(index: ShardIndex, name: str) -> None:
    """Check that members lie one behind the other in the shard, in the order of their rows."""
    end_of_data = index.end_of_data
    if end_of_data > index.shard_bytes or end_of_data % BLOCK:
        raise _broken(f"has data up to {end_of_data} in a shard of {index.shard_bytes} bytes", name)
    offset, size, headers, row = _members(index, name)
    if not len(offset):
        return
    # Each alone first: their sum could overflow.
    if max(int(offset.max()), int(size.max())) > end_of_data or int((offset + size).max()) > end_of_data:
        raise _broken(f"points beyond the data of its shard, which end at {end_of_data}", name)
    if (int(np.bitwise_or.reduce(offset)) | int(np.bitwise_or.reduce(headers))) % BLOCK or not headers.min():
        raise _broken(f"has offsets or headers that are no whole blocks of {BLOCK} bytes", name)
    if _one_behind_the_other(offset, size, headers):
        return
    # Other tools do not sort the fields within a sample.
    order = np.argsort(offset, kind="stable")
    row = row[order] if row is not None else order // len(index.fields)
    if bool((row[1:] < row[:-1]).any()) or not _one_behind_the_other(offset[order], size[order], headers[order]):
        raise _broken("has members that overlap, or stand in another order than their samples", name)


def _members(index: ShardIndex, name: str) -> tuple[Any, Any, Any, npt.NDArray[np.int64] | None]:
    """Return (m) data offset, size and header length of the members there are, and the row of each.

    The row is None where every sample has every field: then it is the number of the member
    divided by that of the fields, and nothing was copied.
    """
    present = index.present.reshape(-1)
    columns: tuple[npt.NDArray[Any], ...] = (index.data_offset, index.size, index.header_bytes)
    if present.max(initial=0) > 1:
        raise _broken("has a presence that is neither 0 nor 1", name)
    if np.count_nonzero(present) == len(present) and index.fields:
        offset, size, headers = (column.reshape(-1) for column in columns)
        return offset, size, headers, None
    mask = index.present.astype(bool)
    if not mask.any(axis=1).all():
        raise _broken("has samples without any field", name)
    checksums = () if index.crc32c is None else (index.crc32c,)
    if any(column[~mask].any() for column in (*columns, *checksums)):
        raise _broken("has numbers where a field is absent", name)
    row = np.repeat(np.arange(index.num_samples), mask.sum(axis=1))
    offset, size, headers = (column[mask] for column in columns)
    return offset, size, headers, row


def _one_behind_the_other(offset: npt.NDArray[Any], size: npt.NDArray[Any], headers: npt.NDArray[Any]) -> bool:
    return int(headers[0]) <= int(offset[0]) and not (offset[1:] < (offset + size)[:-1] + headers[1:]).any()


def _broken(what: str, name: str) -> CorruptIndexError:
    return CorruptIndexError(f'index {what}; rebuild it with "shardpack index --force"', shard=name)
