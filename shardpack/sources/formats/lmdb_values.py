"""What the value of an LMDB entry is: found once, by the first values, and then the same for all.

    fields     not looked at: the name of the entry tells the field
    bytes      an encoded image, a text, or anything else
    datum      Caffe's Datum
    json       an object
    msgpack    a map, or a list
    pickle     a dict, tuple or list of plain values; only if asked for, by an interpreter that calls nothing

Of a list the first bytes are the image and the first whole number is the label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from shardpack.codecs.field_types import parse_json
from shardpack.codecs.message_pack import decode_msgpack
from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.sources.formats.caffe_datum import parse_datum
from shardpack.sources.formats.importer import Unpickle
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_values import extension_of
from shardpack.sources.unpickle import unpickle

Kind = Literal["fields", "bytes", "datum", "json", "msgpack", "pickle"]

_PROTOCOLS = range(2, 6)
_CONTAINERS = (*range(0x80, 0xA0), *range(0xDC, 0xE0))  # first bytes of maps and arrays of MessagePack


def kind_of_values(values: Sequence[bytes], allowed: Unpickle | None) -> Kind:
    """Return what all of some values are.

    Raises:
        OptionError: They are pickles, and that is not allowed.
    """
    kinds = {_kind(value) for value in values}
    if "pickle" in kinds and allowed is None:
        raise OptionError(
            "its values are pickles; pass unpickle='plain' (--unpickle plain) to read those that hold plain values only"
        )
    return kinds.pop() if len(kinds) == 1 else "bytes"


def _kind(value: bytes) -> Kind:
    if extension_of(value) is not None or not value:
        return "bytes"
    if value[:1] == b"\x80" and value[1:2] and value[1] in _PROTOCOLS and value[-1:] == b".":
        return "pickle"
    if parse_datum(value) is not None:
        return "datum"
    if value[:1] == b"{":
        try:
            return "json" if isinstance(parse_json(value), dict) else "bytes"
        except DecodeError:
            return "bytes"
    return "msgpack" if value[0] in _CONTAINERS and _is_msgpack(value) else "bytes"


def _is_msgpack(value: bytes) -> bool:
    try:
        return isinstance(decode_msgpack(value), (dict, list))
    except Exception as error:
        if isinstance(error, ImportError):
            raise
        return False


def columns_of(value: bytes, kind: Kind, allowed: Unpickle | None, *, name: str) -> Columns:
    """Return the columns of a value.

    Raises:
        SourceError: It is not what the first values were; says what it holds.
    """
    if kind == "bytes":
        return {"value": value}
    if kind == "datum":
        datum = parse_datum(value)
        if datum is None:
            raise SourceError("not a Datum of Caffe as the first values are; drop it")
        return datum
    return _named(_decoded(value, kind, allowed, name))


def _decoded(value: bytes, kind: Kind, allowed: Unpickle | None, name: str) -> Any:
    if kind == "pickle":
        assert allowed is not None
        return unpickle(value, allowed, name=name)
    try:
        return parse_json(value) if kind == "json" else decode_msgpack(value)
    except ImportError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise SourceError(f"not {kind} as the first values are: {said}; drop it") from error


def _named(value: Any) -> Columns:
    if isinstance(value, Mapping):
        texts = (key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key) for key in value)
        return dict(zip(texts, value.values(), strict=True))
    if not isinstance(value, (list, tuple)):
        return {"value": value}
    columns: dict[str, Any] = {}
    for number, part in enumerate(value):
        column = f"value{number}"
        if isinstance(part, bytes):
            column = "image" if "image" not in columns else column
        elif isinstance(part, int) and not isinstance(part, bool):
            column = "label" if "label" not in columns else column
        columns[column] = part
    return columns
