"""MessagePack files: maps one behind the other, or one array of maps; a map is a sample. Units are files.

Extension types and what is larger than `MAX_OBJECT_BYTES` are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from shardpack.codecs.message_pack import msgpack_module
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.byte_stream import read_pieces
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import with_text_classes
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "msgpack"
MAX_OBJECT_BYTES = 256 << 20
_PATTERNS = ("*.msgpack", "*.mpk", "*.msg")
_READ_BYTES = 1 << 20
_DRAWN_ROWS = 4
_FIX_ARRAY, _ARRAY_16, _ARRAY_32 = 0x90, b"\xdc", b"\xdd"  # first bytes of arrays


def detect(found: FoundFiles) -> bool:
    """Return whether these are MessagePack files, by their names."""
    return bool(found.matching(*_PATTERNS))


def open(found: FoundFiles, options: FormatOptions) -> MessagePackRows:  # noqa: A001 - the name in the protocol
    """Return the maps; reads a few of them, and all where texts are the labels: these are its classes.

    Raises:
        SourceError: A file does not begin with a map or an array of maps.
        MissingDependencyError: msgpack is not installed.
    """
    options.refuse(NAME, "unpickle")
    names = found.names if found.is_file else tuple(found.matching(*_PATTERNS))
    if not names:
        raise SourceError(f"no MessagePack file is in {found.location!r}; expected names such as *.msgpack")
    units = tuple(
        Unit(name, None, found.size(name), split) for name, split in zip(names, splits_of(names), strict=True)
    )
    drawn: list[Columns] = []
    for unit in drawn_units(len(units)):
        drawn += (_checked(value) for value in islice(_objects(found, names[unit]), _DRAWN_ROWS))
    mapping = choose_mapping(drawn, options, unwrap=False)
    mapping = with_text_classes(mapping, partial(_values_of, found, names))
    sentence = (
        f"MessagePack: {counted_rows(units, 'map')} in {len(names):,} file{'s' * (len(names) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}{found.others(names)}"
    )
    version = found.version_of(names, more=f"{NAME} {options.text()} {mapping}")
    return MessagePackRows(
        format=NAME,
        units=units,
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        found=found,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePackRows(MappedRows):
    """The maps of MessagePack files, as `RowSource` says."""

    found: FoundFiles

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples of maps; see `RowSource.rows`."""
        file = self.units[unit].name
        for number, value in islice(enumerate(_objects(self.found, file)), first, stop):
            yield self.maker.row(unit, number, f"{file}, map {number}", partial(_checked, value))


def _values_of(found: FoundFiles, names: Sequence[str], column: str) -> Iterator[Any]:
    """Yield the values of a column in all maps of some files."""
    for name in names:
        yield from (value.get(column) for value in _objects(found, name) if isinstance(value, dict))


def _objects(found: FoundFiles, name: str) -> Iterator[Any]:
    """Yield the objects of a file, or those of the one array that it holds.

    Raises:
        SourceError: It is damaged, or cut short; says behind which object.
    """
    size, number, end = found.size(name), 0, 0
    behind, expected = _array_header(found.head(name, 5))
    unpacker = msgpack_module().Unpacker(max_buffer_size=MAX_OBJECT_BYTES, ext_hook=_refuse)
    try:
        for piece in read_pieces(found.store, name, behind, size, read_bytes=_READ_BYTES):
            unpacker.feed(piece)
            for value in unpacker:
                number, end = number + 1, unpacker.tell()
                yield value
    except (ValueError, RecursionError, MemoryError) as error:  # of the library, also its buffer that is full
        if isinstance(error, SourceError):
            raise
        raise SourceError(
            f"damaged behind {number} objects: {type(error).__name__} {error}; write it again", path=name
        ) from error
    rest = size - behind - end
    if rest or number != (number if expected is None else expected):
        raise SourceError(f"cut short behind {number} objects: {rest} bytes are no whole one; copy it again", path=name)


def _array_header(head: bytes) -> tuple[int, int | None]:
    """Return (length of the header, objects) of a file that holds one array; (0, None) of any other."""
    if head[:1] == _ARRAY_16 and len(head) >= 3:
        return 3, int.from_bytes(head[1:3], "big")
    if head[:1] == _ARRAY_32 and len(head) >= 5:
        return 5, int.from_bytes(head[1:5], "big")
    return (1, head[0] & 0x0F) if head and head[0] & 0xF0 == _FIX_ARRAY else (0, None)


def _refuse(code: int, data: bytes) -> Any:
    raise DecodeError(f"extension type {code} of {len(data)} bytes, which only its writer can read; store bytes")


def _checked(value: Any) -> Columns:
    if not isinstance(value, dict):
        raise SourceError(f"an object of type {type(value).__name__}, expected a map of columns; write maps")
    return value
