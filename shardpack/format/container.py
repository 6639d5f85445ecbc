"""The container of every binary file of a dataset: the safetensors layout (SPEC 3).

The bytes are exactly those of the `safetensors` library; the tests compare them. They are written
here because the library does not fix the order of metadata and its writer makes a second copy, and
parsed here because its numpy reader copies every tensor, while this one returns views of a memory map.

A `Schema` says what a file of one kind may hold. The rule of growth (SPEC 1.5) is applied here for
every kind: names that begin with "x-" are ignored, other unknown names are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import CorruptIndexError, FormatError, UnsupportedVersionError
from shardpack.format.strict_json import strict_json_object

# safetensors allows 100 MB. Ours have at most eight columns, and parsed JSON may take fifty times its length.
MAX_HEADER_BYTES = 1 << 20
MAX_DIMENSIONS = 8
ALIGNMENT = 8
IGNORED = "x-"  # readers ignore names with this prefix

_DTYPES: dict[str, np.dtype[Any]] = {
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_ENTRY = frozenset(("dtype", "shape", "data_offsets"))
_INTEGERS = frozenset((int,))  # and not bool


@dataclass(frozen=True, slots=True)
class Schema:
    """What a file of one kind holds.

    Attributes:
        kind: Value of the metadata name `format`.
        columns: Known columns, name -> dtype code.
        metadata: Known metadata names besides `format` and `version`.
        version: The version that is written, and the newest that is read.
    """

    kind: str
    columns: Mapping[str, str]
    metadata: frozenset[str] = frozenset()
    version: int = 1


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a file: type, shape, and half-open byte range from the start of the file."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class ContainerHeader:
    """The parsed header of a file, without names that readers ignore."""

    metadata: Mapping[str, str]
    columns: Mapping[str, Column]


def encode_header(columns: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str]) -> bytes:
    """Return the length word and JSON header for columns given as name -> (dtype code, shape).

    The columns must follow in the order of `column_order(columns)`, without gaps.

    Raises:
        FormatError: The header would exceed `MAX_HEADER_BYTES`.
    """
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))}
    begin = 0
    for name in column_order(columns):
        code, shape = columns[name]
        end = begin + prod(shape) * _DTYPES[code].itemsize
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    if len(text) > MAX_HEADER_BYTES:
        raise FormatError(
            f"index header has {len(text)} bytes, limit {MAX_HEADER_BYTES}; give samples fewer or shorter field names"
        )
    return len(text).to_bytes(8, "little") + text


def column_order(columns: Mapping[str, tuple[str, Sequence[int]]]) -> list[str]:
    """Return the names in file order: wider items first, then by name, so that every column is aligned."""
    return sorted(columns, key=lambda name: (-_DTYPES[columns[name][0]].itemsize, name))


def encode(columns: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, str]) -> list[bytes | memoryview]:
    """Return the file as buffers to write in order; the columns are not copied."""
    arrays = {name: np.ascontiguousarray(array, _as_little(array)) for name, array in columns.items()}
    shapes = {name: (_CODES[array.dtype], array.shape) for name, array in arrays.items()}
    parts: list[bytes | memoryview] = [encode_header(shapes, metadata)]
    parts.extend(arrays[name].reshape(-1).view(np.uint8).data for name in column_order(shapes))
    return parts


def metadata_of(schema: Schema, **values: str) -> dict[str, str]:
    """Return the metadata of a file of one kind, its format and version included."""
    return {"format": schema.kind, "version": str(schema.version), **values}


def _as_little(array: npt.NDArray[Any]) -> np.dtype[Any]:
    return array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype


def parse(
    buffer: Any, *, name: str, schema: Schema | None = None
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, str]]:
    """Return (columns, metadata) as read-only views of `buffer`, after checking every rule of SPEC 3.

    The columns are neither copied nor read. `name` is the path that errors report.

    Raises:
        CorruptIndexError: A rule is broken; nothing of the size that the file claims was allocated.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    view = memoryview(buffer).cast("B").toreadonly()
    header = parse_header(view, name=name, num_bytes=len(view), schema=schema)
    columns: dict[str, npt.NDArray[Any]] = {}
    for column, at in header.columns.items():
        array = np.frombuffer(view, at.dtype, prod(at.shape), at.begin)
        columns[column] = array if len(at.shape) == 1 else array.reshape(at.shape)
    return columns, dict(header.metadata)


def parse_header(buffer: Any, *, name: str, num_bytes: int, schema: Schema | None = None) -> ContainerHeader:
    """Return the header of a file of `num_bytes` bytes, from its first bytes.

    With a schema, kind and version are checked before the columns, which a newer version may have changed.

    Raises:
        CorruptIndexError: A rule of SPEC 3 is broken, or the file is of another kind.
        UnsupportedVersionError: The file was written by a newer version of the format.
    """
    header, data_start = header_object(memoryview(buffer).cast("B"), name=name)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _broken("metadata is not a map of strings", name)
    if schema is not None:
        check_kind(metadata, schema, name)
        _check_known("column", header, schema.columns, schema, name)
        _check_known("entry", metadata, {"format", "version", *schema.metadata}, schema, name)
    entries = {column: _checked_entry(column, entry, data_start, name) for column, entry in header.items()}
    _check_contiguous([(entry.begin, entry.end) for entry in entries.values()], data_start, num_bytes, name)
    columns = {column: entry for column, entry in entries.items() if not column.startswith(IGNORED)}
    for column, entry in columns.items() if schema is not None else ():
        expected = _DTYPES[schema.columns[column]]  # type: ignore[union-attr]
        if entry.dtype != expected:
            raise _broken(f"has a column {column!r} of {entry.dtype}, expected {expected}", name)
    return ContainerHeader({n: value for n, value in metadata.items() if not n.startswith(IGNORED)}, columns)


def header_object(view: memoryview, *, name: str) -> tuple[dict[str, Any], int]:
    """Return (JSON object of the header, offset where the columns begin), from the first bytes of a file.

    Raises:
        CorruptIndexError: The length word is wrong, or the header is not a JSON object.
    """
    length = int.from_bytes(view[:8], "little")
    if len(view) < 8 or length > MAX_HEADER_BYTES or 8 + length > len(view) or length % ALIGNMENT:
        raise _broken(
            f"header is cut short, or the file is not a shardpack index: expected at most {MAX_HEADER_BYTES} bytes, "
            f"a multiple of {ALIGNMENT}, got {length} of {len(view)}",
            name,
            offset=0,
        )
    try:
        header = strict_json_object(view[8 : 8 + length])
    except ValueError as error:
        raise _broken(f"header is {error}", name) from error
    if view[8] != ord("{"):
        raise _broken("header is not a JSON object without white space before it", name)
    return header, 8 + length


def check_kind(metadata: Mapping[str, str], schema: Schema, name: str) -> None:
    """Check the kind and version of a container.

    Raises:
        CorruptIndexError: The container is of another kind, or its version is malformed.
        UnsupportedVersionError: The version is newer than the schema's.
    """
    if metadata.get("format") != schema.kind:
        raise _broken(f"is not a {schema.kind}: its format is {metadata.get('format')!r:.40}", name)
    version = metadata.get("version", "")
    if not _VERSION.fullmatch(version):
        raise _broken(f"has a bad version {version[:20]!r}", name)
    if int(version) > schema.version:
        raise UnsupportedVersionError(
            f"{schema.kind} version {version} is not known: expected at most {schema.version}; upgrade shardpack",
            path=name,
            offset=8,
        )


def _check_known(what: str, names: Iterable[str], known: Iterable[str], schema: Schema, name: str) -> None:
    unknown = [n for n in sorted(set(names).difference(known)) if not n.startswith(IGNORED)]
    if unknown:
        raise UnsupportedVersionError(
            f"{schema.kind} has the {what} {unknown[0][:40]!r}, which this version of shardpack does not know; "
            "upgrade shardpack to the version that wrote it, or later",
            path=name,
            offset=8,
        )


def _checked_entry(column: str, entry: Any, data_start: int, name: str) -> Column:
    ignored = column.startswith(IGNORED)  # its dtype may be unknown here
    try:
        dtype = _DTYPES["U8"] if ignored else _DTYPES[entry["dtype"]]
        (begin, end) = entry["data_offsets"]
        shape = (end - begin,) if ignored else tuple(entry["shape"])
        more = not _ENTRY.issuperset(entry) and [n for n in entry if n not in _ENTRY and not n.startswith(IGNORED)]
    except (KeyError, TypeError, ValueError) as error:
        raise _broken(f"column {column!r:.40} is malformed", name) from error
    if more:
        raise _broken(f"column {column!r:.40} has other names than {', '.join(sorted(_ENTRY))}", name)
    # Numbers are bounded before they are multiplied, as the product of a thousand huge ones takes minutes.
    # numpy refuses a shape whose other numbers overflow even if one of them is 0.
    numbers, item_bytes = (*shape, begin, end), dtype.itemsize
    numbers_fit = (
        len(shape) <= MAX_DIMENSIONS
        and _INTEGERS.issuperset(map(type, numbers))
        and min(numbers) >= 0
        and max(numbers) < 1 << 63
        and prod(filter(None, shape)) * item_bytes < 1 << 63
    )
    if not numbers_fit or end - begin != prod(shape) * item_bytes or begin % item_bytes:
        raise _broken(f"column {column!r:.40} has wrong bounds", name)
    return Column(dtype, shape, data_start + begin, data_start + end)


def _check_contiguous(spans: list[tuple[int, int]], data_start: int, num_bytes: int, name: str) -> None:
    reached = data_start
    for begin, end in sorted(spans):
        if begin != reached:
            what = f"columns overlap or leave a hole: expected one to begin at {reached}, got {begin}"
            raise _broken(what, name, offset=reached)
        reached = end
    if reached != num_bytes:
        what = f"has the wrong length: expected {reached} bytes, got {num_bytes}"
        raise _broken(what, name, offset=min(reached, num_bytes))


def _broken(what: str, name: str, *, offset: int = 8) -> CorruptIndexError:
    return index_error(what, name, offset=offset)


def index_error(what: str, name: str, *, offset: int | None = None) -> CorruptIndexError:
    """Return the error that says what is wrong with an index, a shard table or a key index."""
    return CorruptIndexError(f'index {what}; make it again with "shardpack repair --force"', path=name, offset=offset)


def encode_names(names: Sequence[str]) -> str:
    """Return a list of names as metadata has it."""
    return json.dumps(names, separators=(",", ":"))
