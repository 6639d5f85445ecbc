"""FFCV's .beton, version 2: header, fields, a table of rows, data, and where each piece of data is. All little-endian.

header            u16 version = 2 | u16 fields | u32 page size | u64 samples | u64 offset of the allocation table
field, 1041 bytes u8 type | 16 bytes name | 1024 bytes arguments
rows              a C struct of all fields a sample: numbers, or pointers (offsets in the file) and lengths
allocations       {u64 sample, u64 pointer, u64 length} up to the end of the file, in the order of writing
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import DecodeError, SourceError
from shardpack.storage.protocols import RangeReader

HEADER = struct.Struct("<HHIQQ")
VERSION = 2
_FIELD_BYTES = 1 + 16 + 1024
_MAX_FIELDS = 256
FLOAT, INT, IMAGE, BYTES, ARRAY, JSON, TENSOR = range(7)
_IMAGE_TYPE = np.dtype([("mode", "u1"), ("width", "<u2"), ("height", "<u2"), ("data", "<u8")])
_SPAN_TYPE = np.dtype([("data", "<u8"), ("size", "<u8")])
_TYPES = {
    FLOAT: np.dtype("<f8"), INT: np.dtype("<i8"), IMAGE: _IMAGE_TYPE, BYTES: _SPAN_TYPE, ARRAY: np.dtype("<u8"),
    JSON: _SPAN_TYPE, TENSOR: np.dtype("<u8"),
}  # fmt: skip
ALLOCATION = np.dtype([("sample", "<u8"), ("data", "<u8"), ("size", "<u8")])
JPEG_MODE, RAW_MODE = 0, 1


@dataclass(frozen=True, slots=True)
class Field:
    """A column. `shape` and `dtype` are those of its arrays; `dtype` is the text of numpy's descr."""

    name: str
    kind: int
    shape: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(frozen=True, slots=True)
class Beton:
    """What a file says of itself. Pickles."""

    name: str
    size: int
    num_samples: int
    table_start: int
    allocations_start: int
    fields: tuple[Field, ...]

    @property
    def row_type(self) -> np.dtype[Any]:
        """The struct of a row; aligned, except that an image is a block of its own."""
        return np.dtype([(f"f{i}", _TYPES[field.kind]) for i, field in enumerate(self.fields)], align=True)


def read_beton(store: RangeReader, name: str) -> Beton:
    """Return what a file says of itself; reads its header.

    Raises:
        SourceError: It is of another version, or contradicts itself.
    """
    size = store.size(name)
    if size < HEADER.size:
        raise SourceError(f"{size} bytes, expected at least the {HEADER.size} of a header", path=name)
    version, count, _, samples, allocations = HEADER.unpack(store.get_range(name, start=0, length=HEADER.size))
    if version != VERSION:
        raise SourceError(f"version {version} of .beton, expected {VERSION}; write it again with FFCV 1", path=name)
    if not 0 < count <= _MAX_FIELDS or HEADER.size + count * _FIELD_BYTES > size:
        raise SourceError(f"{count} fields in a file of {size} bytes; the file is damaged", path=name)
    table = HEADER.size + count * _FIELD_BYTES
    described = store.get_range(name, start=HEADER.size, length=count * _FIELD_BYTES)
    fields = tuple(_field(described[at : at + _FIELD_BYTES], name) for at in range(0, len(described), _FIELD_BYTES))
    beton = Beton(name, size, samples, table, allocations, fields)
    row_bytes = beton.row_type.itemsize
    if samples > (size - table) // row_bytes or not table <= allocations <= size:
        raise SourceError(
            f"{samples} rows of {row_bytes} bytes and allocations at {allocations}, in a file of {size} bytes; "
            "the file is damaged or cut short",
            path=name,
        )
    if (size - allocations) % ALLOCATION.itemsize:
        raise SourceError(f"the allocation table has {size - allocations} bytes, expected a multiple of 24", path=name)
    if len({field.name for field in fields}) < len(fields):
        raise SourceError("two fields have one name; the file is damaged", path=name)
    return beton


def _field(data: bytes, name: str) -> Field:
    kind, title, arguments = data[0], data[1:17].partition(b"\0")[0], data[17:]
    if kind not in _TYPES:
        raise SourceError(f"a field of type {kind}, whose layout only the code that wrote it knows", path=name)
    try:
        text = title.decode()
        if kind not in (ARRAY, TENSOR):
            return Field(text, kind)
        shape = struct.unpack("<32Q", arguments[:256])
        length = int.from_bytes(arguments[256:264], "little")
        descr = arguments[264 : 264 + length].decode() if length <= len(arguments) - 264 else ""
        found = Field(text, kind, tuple(side for side in shape if side), descr)
        dtype_of(found)
    except (UnicodeDecodeError, DecodeError) as error:
        raise SourceError(f"field {title!r} is damaged: {error}", path=name) from error
    return found


def dtype_of(field: Field) -> np.dtype[Any]:
    """Return the dtype of a field's arrays.

    Raises:
        DecodeError: It is not one of plain numbers.
    """
    try:
        described = json.loads(field.dtype)
        plain = [tuple(part) for part in described] if isinstance(described, list) else described
        dtype = np.dtype(plain[0][1] if isinstance(plain, list) and len(plain) == 1 and not plain[0][0] else plain)
    except (ValueError, TypeError, LookupError, SyntaxError, RecursionError) as error:
        raise DecodeError(f"dtype {field.dtype[:60]!r}") from error
    if dtype.hasobject or not dtype.itemsize:
        raise DecodeError(f"dtype {dtype} of objects or of no length")
    return dtype


class BetonReader:
    """Reads rows of a file. Not for several threads."""

    def __init__(self, store: RangeReader, beton: Beton) -> None:
        """Read by the description of a file; reads its allocation table when the first pointer is followed."""
        self._store, self._beton = store, beton
        self._pointers: npt.NDArray[np.uint64] | None = None
        self._sizes: npt.NDArray[np.uint64] | None = None

    def rows(self, first: int, stop: int) -> npt.NDArray[Any]:
        """Return the structs of rows."""
        beton = self._beton
        width = beton.row_type.itemsize
        data = self._store.get_range(beton.name, start=beton.table_start + first * width, length=(stop - first) * width)
        return np.frombuffer(data, beton.row_type)

    def value(self, row: Any, number: int) -> Any:
        """Return the value of a field: a number, bytes, an array (of pixels, too), or what a JSON text says.

        Raises:
            DecodeError: The row points to where no data of this length is.
        """
        field, cell = self._beton.fields[number], row[f"f{number}"]
        if field.kind == FLOAT:
            return float(cell)
        if field.kind == INT:
            return int(cell)
        if field.kind == IMAGE:
            return self._image(cell)
        if field.kind in (ARRAY, TENSOR):
            dtype = dtype_of(field)
            length = dtype.itemsize
            for side in field.shape:
                length *= side
            return np.frombuffer(self._read(int(cell), length), dtype).reshape(field.shape)
        data = self._read(int(cell["data"]), int(cell["size"]))
        if field.kind == BYTES:
            return data
        try:
            return json.loads(data.rstrip(b"\0").decode())
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"field {field.name!r} does not hold JSON: {error}") from error

    def _image(self, cell: Any) -> bytes | npt.NDArray[np.uint8]:
        pointer, mode = int(cell["data"]), int(cell["mode"])
        if mode == JPEG_MODE:
            return self._read(pointer, self._allocated(pointer))
        if mode != RAW_MODE:
            raise DecodeError(f"an image of mode {mode}, expected {JPEG_MODE} (JPEG) or {RAW_MODE} (raw)")
        height, width = int(cell["height"]), int(cell["width"])
        return np.frombuffer(self._read(pointer, height * width * 3), np.uint8).reshape(height, width, 3)

    def _allocated(self, pointer: int) -> int:
        """Return the length of the data at a pointer."""
        if self._pointers is None or self._sizes is None:
            beton = self._beton
            start = beton.allocations_start
            data = self._store.get_range(beton.name, start=start, length=beton.size - start)
            table = np.frombuffer(data, ALLOCATION)
            order = np.argsort(table["data"], kind="stable")
            self._pointers, self._sizes = table["data"][order], table["size"][order]
        place = int(np.searchsorted(self._pointers, np.uint64(pointer)))
        if place == len(self._pointers) or int(self._pointers[place]) != pointer:
            raise DecodeError(f"no data is allocated at byte {pointer}")
        return int(self._sizes[place])

    def _read(self, pointer: int, length: int) -> bytes:
        if pointer + length > self._beton.allocations_start:
            raise DecodeError(f"{length} bytes at byte {pointer} would be behind the data")
        return bytes(self._store.get_range(self._beton.name, start=pointer, length=length))
