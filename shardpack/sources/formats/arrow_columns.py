"""Columns of Arrow tables as Python values for `mapping.py`: what a type becomes, with what Hugging Face says of it.

    binary, struct<bytes, path>, list of these    payloads, as they are
    class numbers with names (ClassLabel)         number; beside the label column {"label": number, "class": name}
    arrays (Array2D to Array5D)                   a NumPy array of its shape
    structs and maps, lists                       dicts, lists
    dates and times; decimals; durations          ISO 8601; text; seconds

Hugging Face notes its types in the schema's metadata, as JSON under "huggingface". Arrow's types without a meaning in
JSON are refused by name, before anything is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, MissingDependencyError, SourceError

Convert = Callable[[Any], Any]  # one value as `to_pylist` gives it; None stays None

_ARRAY = re.compile(r"Array[2-5]D")
_ARRAY_EXTENSION = re.compile(r"datasets\.features\.features\.Array[2-5]DExtensionType")
_NO_FEATURE: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ArrowColumn:
    """A column that becomes values. Pickles.

    Attributes:
        name: Its name.
        shape: Of arrays, first length None where it differs from row to row; None for other values.
        class_names: Names of the classes that its numbers stand for, or None.
        holds_files: Whether its values are structs of bytes and path, or lists of them.
    """

    name: str
    shape: tuple[int | None, ...] | None = None
    class_names: tuple[str, ...] | None = None
    holds_files: bool = False


def pyarrow_module() -> Any:
    """Return the module pyarrow.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import pyarrow as pa  # takes 0.1 s
    except ImportError as error:
        raise MissingDependencyError(
            'tables of Parquet and Arrow need pyarrow; run pip install "shardpack[parquet]"'
        ) from error
    return pa


def columns_of(schema: Any) -> tuple[ArrowColumn, ...]:
    """Return what the columns of a schema are.

    Raises:
        SourceError: Two columns have one name, or a type has no counterpart; names the column and the type.
    """
    if not schema.names:
        raise SourceError("the table has no columns")
    features = _features(schema.metadata or {})
    columns: dict[str, ArrowColumn] = {}
    for field in schema:
        if field.name in columns:
            raise SourceError(f"two columns are called {field.name!r}; rename one")
        columns[field.name] = _column(field, features.get(field.name))
    return tuple(columns.values())


def _column(field: Any, feature: Any) -> ArrowColumn:
    feature = feature if isinstance(feature, dict) else _NO_FEATURE
    shape = _array_shape(field, feature)
    plain = storage_type(field.type)
    if shape is None and not _is_binary(plain) and not _holds_binaries(plain):
        converter(plain, column=field.name)  # refuses types
    names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = None
    return ArrowColumn(field.name, shape, None if names is None else tuple(names), _holds_files(plain))


def _features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    try:
        found = parse_json(metadata.get(b"huggingface", b"{}"))
        features = found["info"]["features"]
    except (DecodeError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _array_shape(field: Any, feature: Mapping[str, Any]) -> tuple[int | None, ...] | None:
    """Return the shape of the arrays in a column; None if it has none."""
    shape = feature.get("shape") if _ARRAY.fullmatch(str(feature.get("_type"))) else None
    noted = field.metadata or {}
    if shape is None and _ARRAY_EXTENSION.fullmatch(noted.get(b"ARROW:extension:name", b"").decode("utf-8", "replace")):
        try:
            shape = parse_json(noted.get(b"ARROW:extension:metadata", b"null"))[0]
        except (DecodeError, TypeError, LookupError):
            return None
    if not isinstance(shape, list) or not all(length is None or type(length) is int for length in shape):
        return None
    depth, inner = 0, storage_type(field.type)
    types = pyarrow_module().types
    while types.is_list(inner) or types.is_large_list(inner) or types.is_fixed_size_list(inner):
        depth, inner = depth + 1, inner.value_type
    fits = depth == len(shape) and (types.is_integer(inner) or types.is_floating(inner) or types.is_boolean(inner))
    return tuple(shape) if fits else None


def storage_type(type_: Any) -> Any:
    """Return what a registered extension type is stored as; other types as they are."""
    return type_.storage_type if isinstance(type_, pyarrow_module().BaseExtensionType) else type_


def _is_binary(type_: Any) -> bool:
    types = pyarrow_module().types
    return bool(
        types.is_binary(type_)
        or types.is_large_binary(type_)
        or types.is_fixed_size_binary(type_)
        or (hasattr(types, "is_binary_view") and types.is_binary_view(type_))
    )


def _is_file(type_: Any) -> bool:
    """Return whether a type is Hugging Face's Image, Audio and the like."""
    types = pyarrow_module().types
    if not types.is_struct(type_) or {type_.field(i).name for i in range(type_.num_fields)} != {"bytes", "path"}:
        return False
    payload, path = type_.field("bytes").type, type_.field("path").type  # writers have null where all rows have none
    is_path = bool(types.is_string(path) or types.is_large_string(path))
    return (_is_binary(payload) and (is_path or types.is_null(path))) or (is_path and bool(types.is_null(payload)))


def _is_some_list(type_: Any) -> bool:
    types = pyarrow_module().types
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))


def _holds_files(type_: Any) -> bool:
    return _is_file(type_) or (_is_some_list(type_) and _is_file(type_.value_type))


def _holds_binaries(type_: Any) -> bool:
    return _holds_files(type_) or (_is_some_list(type_) and _is_binary(type_.value_type))


# -- Values ---------------------------------------------------------------------------------------


def converter(type_: Any, *, column: str) -> Convert | None:
    """Return what turns a value of a type, as `to_pylist` gives it, into what JSON holds; None if it is that already.

    Raises:
        SourceError: JSON has no counterpart of the type; names the column.
    """
    types, type_ = pyarrow_module().types, storage_type(type_)
    if types.is_dictionary(type_):
        return converter(type_.value_type, column=column)
    if types.is_struct(type_):
        return _struct_converter([(field.name, converter(field.type, column=column)) for field in type_])
    if types.is_map(type_):
        return _map_converter(type_, column)
    if _is_some_list(type_):
        inner = converter(type_.value_type, column=column)
        return None if inner is None else (lambda values: [_each(inner, value) for value in values])
    return _scalar_converter(type_, column)


def _scalar_converter(type_: Any, column: str) -> Convert | None:
    types = pyarrow_module().types
    if types.is_temporal(type_) and not types.is_interval(type_):
        return timedelta.total_seconds if types.is_duration(type_) else (lambda value: value.isoformat())
    if types.is_decimal(type_):
        return str
    plain = (types.is_string, types.is_large_string, types.is_boolean, types.is_null, types.is_integer)
    if any(is_plain(type_) for is_plain in (*plain, types.is_floating)) or str(type_) == "string_view":
        return None
    what = "bytes within other values" if _is_binary(type_) else f"values of type {type_}"
    raise SourceError(f"column {column!r} holds {what}, which have no place in JSON; write it otherwise, or drop it")


def _each(convert: Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _struct_converter(fields: Sequence[tuple[str, Convert | None]]) -> Convert | None:
    converters = {name: convert for name, convert in fields if convert is not None}
    if not converters:
        return None
    return lambda value: {
        name: _each(converters[name], part) if name in converters else part for name, part in value.items()
    }


def _map_converter(type_: Any, column: str) -> Convert:
    convert, types = converter(type_.item_type, column=column), pyarrow_module().types
    converter(type_.key_type, column=column)
    is_text = bool(types.is_string(type_.key_type) or types.is_large_string(type_.key_type))

    def of_pairs(pairs: Any) -> Any:
        converted = [(key, value if convert is None else _each(convert, value)) for key, value in pairs]
        # JSON's names are texts, and each is there once.
        keys = {key for key, _ in converted} if is_text else set()
        return dict(converted) if len(keys) == len(converted) else [list(pair) for pair in converted]

    return of_pairs


def batch_rows(batch: Any, columns: Sequence[ArrowColumn], *, label_column: str | None) -> Iterator[dict[str, Any]]:
    """Yield the values of each row of a record batch, by column.

    Args:
        batch: Has these columns, perhaps among others.
        columns: What they are.
        label_column: The column whose class numbers stay numbers, since `RowMapping` names its classes.

    Raises:
        Exception: pyarrow raised an error of its own, for values that Python cannot hold.
    """
    values = [_values(batch.column(column.name), column, label_column) for column in columns]
    names = [column.name for column in columns]
    for row in zip(*values, strict=True):
        yield dict(zip(names, row, strict=True))


def _values(array: Any, column: ArrowColumn, label_column: str | None) -> Sequence[Any]:
    if isinstance(array.type, pyarrow_module().BaseExtensionType):
        array = array.storage
    if column.shape is not None:
        return [_as_array(array, row, column.shape) for row in range(len(array))]
    if column.holds_files:
        return [_file_of(value) for value in array.to_pylist()]
    if _is_binary(array.type) or _holds_binaries(array.type):
        return list(array.to_pylist())
    convert = converter(array.type, column=column.name)
    values = list(array.to_pylist())
    if convert is not None:
        values = [_each(convert, value) for value in values]
    if column.class_names is not None and column.name != label_column:
        names = column.class_names
        return [_labelled(value, names) for value in values]
    return values


def _file_of(value: Any) -> Any:
    """Return a struct of bytes and path, or a list of them; None for one that is empty."""
    if isinstance(value, list):
        return [_file_of(part) for part in value]
    return None if value is None or (value["bytes"] is None and not value["path"]) else value


def _labelled(value: Any, names: Sequence[str]) -> Any:
    """Return a class number with its name; numbers below 0 stand for no class."""
    if not isinstance(value, int) or not 0 <= value < len(names):
        return value
    return {"label": value, "class": names[value]}


def _as_array(array: Any, row: int, shape: Sequence[int | None]) -> Any:
    """Return the array that a row of nested lists is; None for none.

    Raises:
        SourceError: The lists do not have the shape.
    """
    if not array[row].is_valid:
        return None
    values = array.slice(row, 1)
    for _ in shape:
        values = values.flatten()
    lengths = [-1 if length is None else length for length in shape]
    try:
        return np.ascontiguousarray(values.to_numpy(zero_copy_only=False)).reshape(lengths)
    except ValueError as error:
        raise SourceError(f"an array of {len(values)} numbers does not have the shape {list(shape)}") from error
