"""What is in an HDF5 file: its datasets, none of which leads to another file, and what a dataset's type allows.

Other files of the machine can be reached by external links, external storage and virtual datasets: all are refused.
Soft links are second names of what has a place of its own in the file; they are not followed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shardpack.errors import MissingDependencyError, SourceError

MAX_ROW_BYTES = 1 << 30  # of one row, and of the chunk that it is stored in
MAX_DATASETS = 10_000_000
MAX_DEPTH = 64
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_PLUGINS = {32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32013: "zfp", 32015: "zstd", 32026: "blosc2"}


@dataclass(frozen=True, slots=True)
class Stored:
    """A dataset. Pickles.

    Attributes:
        path: Names of its groups and its own, without a leading slash.
        shape: Its lengths; empty for a single value.
        kind: "bytes" (opaque, or lists of uint8), "text", "list" (other lists of differing lengths), "number",
            "record" (named values).
        num_bytes: What it takes in the file.
        chunk_rows: How many rows are stored, and decompressed, together.
        enum: (name, number) of the values of an enumeration, or None.
    """

    path: str
    shape: tuple[int, ...]
    kind: str
    num_bytes: int
    chunk_rows: int
    enum: tuple[tuple[str, int], ...] | None = None


def h5py_module() -> Any:
    """Return the module h5py.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingDependencyError('HDF5 needs h5py; run pip install "shardpack[hdf5]"') from error
    return h5py


def walk(file: Any) -> Iterator[Stored]:
    """Yield the datasets of an open file, each group's in the order of their names.

    Raises:
        SourceError: Something leads to another file, or has a type, size or filter that cannot be read; names it.
    """
    for count, stored in enumerate(_walk(file, "", {_address(file)}), start=1):
        if count > MAX_DATASETS:
            raise SourceError(f"more than {MAX_DATASETS:,} datasets; split the file")
        yield stored


def _walk(group: Any, prefix: str, above: set[int]) -> Iterator[Stored]:
    h5py = h5py_module()
    for name in sorted(group):
        path, link = prefix + name, group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            continue
        if not isinstance(link, h5py.HardLink):
            raise SourceError(f"{path!r} is a link to another file, which is not followed; copy what it leads to here")
        found = group[name]
        if isinstance(found, h5py.Group):
            address = _address(found)
            if address in above or len(above) > MAX_DEPTH:
                raise SourceError(f"group {path!r} contains itself, or lies deeper than {MAX_DEPTH} groups")
            yield from _walk(found, f"{path}/", above | {address})
        elif isinstance(found, h5py.Dataset) and found.shape is not None:
            yield stored_as(found, path)


def _address(group: Any) -> int:
    return hash(h5py_module().h5o.get_info(group.id).addr)


def stored_as(dataset: Any, path: str) -> Stored:
    """Return how an open dataset is stored. Raises as `walk`."""
    h5py = h5py_module()
    properties = dataset.id.get_create_plist()
    if dataset.is_virtual or properties.get_external_count():
        raise SourceError(f"dataset {path!r} is stored in other files, which are not read; copy it into this file")
    _check_filters(properties, path)
    kind = _kind(dataset.dtype, path)
    row_bytes = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
    chunk_bytes = dataset.dtype.itemsize * math.prod(dataset.chunks or ())
    if max(row_bytes, chunk_bytes) > MAX_ROW_BYTES:
        raise SourceError(
            f"dataset {path!r} has {max(row_bytes, chunk_bytes):,} bytes in a row or chunk, expected at most "
            f"{MAX_ROW_BYTES:,}; store smaller ones"
        )
    enum = h5py.check_enum_dtype(dataset.dtype)
    return Stored(
        path,
        tuple(dataset.shape),
        kind,
        int(dataset.nbytes if kind in ("number", "record") else dataset.id.get_storage_size()),
        int(dataset.chunks[0]) if dataset.chunks else 1,
        None if enum is None else tuple(sorted(enum.items(), key=lambda item: item[1])),
    )


def _check_filters(properties: Any, path: str) -> None:
    h5py = h5py_module()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            known = _FILTERS.get(code) or _PLUGINS.get(code) or bytes(name).decode("ascii", "replace") or "unknown"
            raise SourceError(
                f"dataset {path!r} is compressed by filter {code} ({known}), which is not installed; "
                "install its plugin (often hdf5plugin), or store the dataset with gzip"
            )


def _kind(dtype: Any, path: str) -> str:
    h5py = h5py_module()
    inner = h5py.check_vlen_dtype(dtype)
    if h5py.check_string_dtype(dtype) is not None:
        return "text"
    if inner is not None:
        if inner.kind in "biuf" and inner.subdtype is None and h5py.check_enum_dtype(inner) is None:
            return "bytes" if inner.itemsize == 1 and inner.kind in "iu" else "list"
    elif dtype.fields is not None:
        for name in dtype.names:
            if _kind(dtype[name].base, f"{path}.{name}") in ("bytes", "list"):
                raise SourceError(f"dataset {path!r} has lists in its field {name!r}; store them on their own")
        return "record"
    elif dtype.kind == "V":
        return "bytes"
    elif dtype.kind in "biuf" and dtype.itemsize <= 8:
        return "number"
    named = "references" if h5py.check_ref_dtype(dtype) is not None else f"values of type {dtype}"
    raise SourceError(f"dataset {path!r} holds {named}, which have no counterpart; store plain values, or drop it")
