"""NumPy arrays as payloads: `npy` (NumPy's NEP 1) and `npz`, a zip of them. Never pickle.

A payload is read in place: an array of `npy` is a read-only view of the payload's memory.
"""

from __future__ import annotations

import ast
import io
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.lib.format as npy_format
import numpy.typing as npt

from shardpack.codecs.compression import MAX_DECOMPRESSED_BYTES
from shardpack.errors import DecodeError, OptionError
from shardpack.runtime.words import a_type

Array = npt.NDArray[Any]
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # of a zip: no clock in the bytes
_MAGIC_BYTES = 8  # six of magic, two of version
_LENGTH_BYTES = {1: 2, 2: 4, 3: 4}  # of the header's length, by version
_MAX_HEADER_BYTES = 10_000  # as numpy.load has it, because headers are evaluated
MAX_NPY_HEADER_BYTES = _MAX_HEADER_BYTES + _MAGIC_BYTES + 4


def encode_npy(value: Any) -> bytes:
    """Return an array as `numpy.save` writes it, in C order and with its dtype.

    Args:
        value: An array, a NumPy scalar, or what has `__array__`, such as a tensor in main memory.

    Raises:
        OptionError: The value is not an array, or one that `npy` cannot hold without loss or pickle.
    """
    array = _as_array(value)
    header = io.BytesIO()
    facts = {"descr": npy_format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    try:
        npy_format.write_array_header_1_0(header, facts)
    except ValueError as error:
        raise OptionError(
            f"dtype does not fit the header of an npy: {error}; shorten the names of its fields"
        ) from error
    data = array.reshape(-1).view(np.uint8).data if array.nbytes else b""
    return b"".join((header.getvalue(), data))


def _as_array(value: Any) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise OptionError("a masked array would lose its mask; store value.filled(...), or two fields")
    if not isinstance(value, (np.ndarray, np.generic)) and not hasattr(value, "__array__"):
        raise OptionError(f"got {a_type(value)}, expected an array; store numpy.asarray(value, dtype)")
    array = np.asarray(value)
    dtype = array.dtype
    if dtype.hasobject:
        raise OptionError(f"dtype {dtype} holds Python objects, which only pickle could store; convert the array")
    try:
        kept = npy_format.descr_to_dtype(npy_format.dtype_to_descr(dtype)) == dtype
    except (TypeError, ValueError):
        kept = False
    if not kept:
        raise OptionError(f"npy cannot hold dtype {dtype}; convert the array, or store its bytes as another dtype")
    return np.require(array, requirements="C").reshape(array.shape)


def view_npy(payload: bytes | memoryview) -> Array:
    """Return the array of a payload, as a read-only view of it: nothing is copied.

    The view keeps the payload's memory alive. Bytes behind the array are passed over, as by `numpy.load`.

    Raises:
        DecodeError: The payload is not an array, is cut short, or holds Python objects.
    """
    begin, end = _header_bounds(payload)
    shape, order, dtype = _parse_header(bytes(payload[begin:end]), payload[6])
    num_bytes = dtype.itemsize
    for length in shape:
        num_bytes *= length
    if num_bytes > len(payload) - end:
        raise DecodeError(
            f"array is cut short: expected {num_bytes} bytes of {dtype} {shape}, got {len(payload) - end}"
        )
    array: Array = np.ndarray(shape, dtype, memoryview(payload).toreadonly(), end, order=order)
    return array


class NpyHeader(NamedTuple):
    """What an `npy` says of its array; the values begin at `end`."""

    shape: tuple[int, ...]
    order: Any  # "C" or "F"
    dtype: np.dtype[Any]
    end: int

    @property
    def num_bytes(self) -> int:
        """Length of the values."""
        num_bytes = self.dtype.itemsize
        for length in self.shape:
            num_bytes *= length
        return num_bytes


def npy_header(head: bytes | memoryview) -> NpyHeader:
    """Return the header of a payload of which these are the first bytes, `MAX_NPY_HEADER_BYTES` of them or all.

    Raises:
        DecodeError: It is not an array, or one of Python objects.
    """
    begin, end = _header_bounds(head)
    shape, order, dtype = _parse_header(bytes(head[begin:end]), head[6])
    return NpyHeader(shape, order, dtype, end)


def _header_bounds(payload: bytes | memoryview) -> tuple[int, int]:
    """Return where the text of the header begins and ends."""
    length_bytes = _LENGTH_BYTES.get(payload[6] if len(payload) >= _MAGIC_BYTES else 0)
    if length_bytes is None or payload[:6] != b"\x93NUMPY" or payload[7]:
        raise DecodeError("not an npy array: it does not begin like one")
    begin = _MAGIC_BYTES + length_bytes
    end = begin + int.from_bytes(payload[_MAGIC_BYTES:begin], "little")
    if end - begin > _MAX_HEADER_BYTES or end > len(payload):
        raise DecodeError(f"not an npy array: a header of {end - begin} bytes, of {len(payload)} in all")
    return begin, end


Gather = Callable[[list[Array], Array], None]  # (n arrays of m bytes, (n, m) array) -> copies them into its rows


def gather(contents: list[Array], out: Array) -> None:
    """Copy n arrays of m bytes into the rows of an (n, m) array."""
    np.concatenate(contents, out=out.reshape(-1))


@dataclass(frozen=True, slots=True, eq=False)
class RowCopies:
    """Arrays that are stored alike, and the rows of a batch that they are to be copied into.

    Attributes:
        contents: (n) The values of each array, m bytes, where they are stored.
        rows: (n, m) The bytes of the batch.
        gather: Copies some of the one into some of the other.
    """

    contents: list[Array]
    rows: Array
    gather: Gather

    def copy(self, run: range) -> None:
        """Copy some arrays that follow one another: one call for all, most of it without the interpreter's lock."""
        some = slice(run.start, run.stop)
        self.gather(self.contents[some], self.rows[some])


def row_copies(payloads: Sequence[bytes | memoryview], rows: Array, gather: Gather = gather) -> RowCopies | None:
    """Return how to copy arrays into the rows of a contiguous array; None unless all have the same header.

    Looking at all payloads first, and copying them later, leaves little to do between two copies, which drive
    everything else out of the processor's caches.
    """
    first = payloads[0]
    try:
        array = view_npy(first)
    except DecodeError:
        return None
    num_bytes = array.nbytes
    if not num_bytes or not array.flags.c_contiguous or (array.shape, array.dtype) != (rows.shape[1:], rows.dtype):
        return None
    begin = _header_bounds(first)[1]
    header, end = bytes(first[:begin]), begin + num_bytes
    if not all(len(payload) >= end and bytes(payload[:begin]) == header for payload in payloads):
        return None
    contents = [np.frombuffer(payload, np.uint8, num_bytes, begin) for payload in payloads]
    return RowCopies(contents, rows.reshape(-1).view(np.uint8).reshape(-1, num_bytes), gather)


@lru_cache(maxsize=256)
def _parse_header(text: bytes, version: int) -> tuple[tuple[int, ...], Any, np.dtype[Any]]:
    """Return (shape, order, dtype); most arrays of a dataset have the same header, which takes 20 us to parse."""
    try:
        header = ast.literal_eval(text.decode("utf-8" if version == 3 else "latin-1").strip())
        shape, fortran_order = header["shape"], header["fortran_order"]
        dtype = npy_format.descr_to_dtype(header["descr"])
        lengths = [operator.index(length) for length in shape]
    except (ValueError, SyntaxError, TypeError, LookupError, MemoryError, RecursionError) as error:
        raise DecodeError(f"not an npy array: header {text[:100]!r}") from error
    if any(length < 0 for length in lengths):
        raise DecodeError(f"not an npy array: shape {shape}")
    if dtype.hasobject:
        raise DecodeError("array holds Python objects, which only pickle could read (allow_pickle is off)")
    return tuple(lengths), "F" if fortran_order else "C", dtype


def encode_npz(value: Any) -> bytes:
    """Return a dict of arrays as `numpy.savez` writes it: names in sorted order, uncompressed, without times.

    Raises:
        OptionError: The value is not a dict from names to arrays, or an array cannot be stored.
    """
    import zipfile

    if not isinstance(value, Mapping):
        raise OptionError(f"got {a_type(value)}, expected a dict from names to arrays")
    for name in value:
        if not isinstance(name, str) or not name or "\0" in name:
            raise OptionError(f"{name!r} cannot name an array; give it a text")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(value):
            entry = zipfile.ZipInfo(f"{name}.npy", _EARLIEST)
            entry.create_system, entry.external_attr = 3, 0o600 << 16  # the same on every system
            try:
                archive.writestr(entry, encode_npy(value[name]))
            except OptionError as error:
                raise OptionError(f"array {name!r}: {error.args[0]}") from error
    return buffer.getvalue()


def decode_npz(payload: bytes, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> dict[str, Array]:
    """Return all arrays of a payload, each with memory of its own.

    Raises:
        DecodeError: The payload expands to more than `max_bytes`, or an entry is not an array.
        Exception: `zipfile` raised an error of its own for garbage.
    """
    import zipfile

    arrays: dict[str, Array] = {}
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > max_bytes:
            raise DecodeError(f"expands to more than {max_bytes} bytes; read the stored bytes yourself")
        for entry in entries:
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile bounds no other
                raise DecodeError(f"array {entry.filename!r} is compressed in a way that NumPy does not write")
            with archive.open(entry) as file:  # which compares the CRC32 at its end
                content = file.read(entry.file_size)
            if len(content) != entry.file_size:
                raise DecodeError(f"array {entry.filename!r} is cut short")
            arrays[entry.filename.removesuffix(".npy")] = np.array(view_npy(content))
    return arrays
