"""Values of HDF5 datasets: rows of tables in batches, and datasets whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from shardpack.codecs.arrays import encode_npy
from shardpack.codecs.field_types import parse_json
from shardpack.errors import SourceError
from shardpack.sources.formats.hdf5_file import MAX_ROW_BYTES, Stored, stored_as

BATCH_BYTES, MOST_BATCH_BYTES, BATCH_ROWS = 8 << 20, 64 << 20, 1024
MAX_JSON_NUMBERS = 64  # of a row; more are an array
_MAX_ATTRIBUTE_VALUES = 64


def batch_ends(columns: Sequence[Stored], first: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield (first, stop) of rows that are read at once: some megabytes, and whole chunks, which are inflated once."""
    num_rows = max(1, columns[0].shape[0])
    row_bytes = max(1, sum(stored.num_bytes for stored in columns) // num_rows)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES // row_bytes))
    chunk = max(stored.chunk_rows for stored in columns)
    if chunk > rows and chunk * row_bytes <= MOST_BATCH_BYTES:
        rows = chunk
    elif chunk <= rows:
        rows -= rows % chunk
    while first < stop:
        end = min(stop, first + rows - first % rows)
        yield first, end
        first = end


def read_rows(dataset: Any, stored: Stored, first: int, stop: int) -> list[Any]:
    """Return the values of some rows: bytes, texts, numbers, arrays, or dicts of them.

    Raises:
        DecodeError: A text that should be JSON is not.
        Exception: h5py raised an error of its own, for damaged files.
    """
    if stored.kind == "record":
        return [record_value(row) for row in dataset[first:stop]]
    if stored.kind == "number" and len(stored.shape) == 1:
        return list(dataset[first:stop].tolist())
    if stored.kind == "text" and dataset.attrs.get("encoding") == "json":  # as `export/formats/hdf5.py` writes it
        return [parse_json(value) for value in dataset[first:stop].tolist()]
    return [plain(value, stored.kind) for value in dataset[first:stop]]


def plain(value: Any, kind: str) -> Any:
    """Return one value as `mapping.py` takes it."""
    if kind == "bytes":
        return value if isinstance(value, bytes) else value.tobytes()
    if kind == "text":
        return value.tolist() if isinstance(value, np.ndarray) else bytes(value) if isinstance(value, bytes) else value
    if isinstance(value, np.ndarray) and value.ndim == 1:
        return value.tolist() if len(value) <= MAX_JSON_NUMBERS else encode_npy(value)
    return value


def record_value(value: Any) -> Any:
    """Return a value of a compound type as a dict."""
    if not isinstance(value, np.void) or value.dtype.names is None:
        return value
    return {name: record_value(value[name]) for name in value.dtype.names}


def read_whole(dataset: Any, path: str) -> Any:
    """Return all of a dataset: bytes, a text, a number, an array, or a dict.

    Raises:
        SourceError: It is too large, or leads to other files; names it.
        Exception: h5py raised an error of its own, for damaged files.
    """
    stored = stored_as(dataset, path)
    if dataset.nbytes > MAX_ROW_BYTES:
        raise SourceError(f"dataset {path!r} has {dataset.nbytes:,} bytes, expected at most {MAX_ROW_BYTES:,}")
    value = dataset[()]
    if stored.kind == "number" and dataset.dtype.itemsize == 1 and len(stored.shape) == 1:
        return value.tobytes()
    if stored.kind == "record":
        return record_value(value) if not stored.shape else [record_value(row) for row in value]
    if stored.kind == "bytes" and stored.shape:
        return [plain(row, "bytes") for row in value]
    return plain(value, stored.kind)


def attributes_of(found: Any) -> Mapping[str, Any]:
    """Return the attributes of a dataset or group that labels can hold: texts, and a few numbers each."""
    values: dict[str, Any] = {}
    for name in sorted(found.attrs):
        shape, dtype = found.attrs.get_id(name).shape, found.attrs.get_id(name).dtype
        if (
            shape is not None
            and int(np.prod(shape)) <= _MAX_ATTRIBUTE_VALUES
            and (dtype.kind in "biufS" or dtype == "O")
        ):
            value = found.attrs[name]
            if isinstance(value, (str, bytes, int, float, np.generic)) or (
                isinstance(value, np.ndarray) and value.dtype.kind in "biuf"
            ):
                values[name] = value
    return values
