"""Arrays of NumPy in files: an `.npy` is one, an `.npz` is a zip of them, stored or deflated. Never pickle.

An array is read whole, or along its first axis by ranges (of a deflated one: in order), a few MiB at once.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.arrays import MAX_NPY_HEADER_BYTES, npy_header
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_directory import STORED
from shardpack.sources.archives.zip_store import ZipMember, parse_member, payload_start
from shardpack.sources.formats.byte_stream import ByteStream, Pieces, inflate, read_pieces
from shardpack.storage.protocols import Store

MAX_ARRAY_BYTES = 1 << 30  # of one that is read whole
READ_BYTES = 1 << 20

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class StoredArray:
    """Where an array is, and what it is. Pickles.

    Attributes:
        name: Its name: that in the npz, or "" of an npy.
        file: The file.
        start, stored: Where its bytes are, and how many: those of an npy, deflated if `is_deflated`.
        is_deflated: Whether they are.
        skip: Length of the npy's header.
        shape, dtype, order: As NumPy has them; `dtype` as text, or as the list of a structured one.
    """

    name: str
    file: str
    start: int
    stored: int
    is_deflated: bool
    skip: int
    shape: tuple[int, ...]
    dtype: Any
    order: str

    @property
    def num_bytes(self) -> int:
        """Length of its values."""
        length = int(np.dtype(self.dtype).itemsize)
        for side in self.shape:
            length *= side
        return length

    @property
    def row_bytes(self) -> int:
        """Length of what one number of the first axis has."""
        return self.num_bytes // self.shape[0] if self.shape and self.shape[0] else 0


def list_arrays(store: Store, file: str) -> list[StoredArray]:
    """Return the arrays of a file, in its order; reads the directory, and each array of an npz once.

    Raises:
        CorruptShardError: A local header contradicts the directory of the npz.
        SourceError: The file is damaged; or an array holds Python objects, which is named.
    """
    if not file.lower().endswith(".npz"):
        return [_described(store, "", file, 0, store.size(file), is_deflated=False)]
    members = list_zip(store, file, 0)
    if members.refused:
        name, why = members.refused[0]
        raise SourceError(f"array {name!r}: {why}", path=file)
    arrays = []
    for name, reference in zip(members.names, members.references, strict=True):
        member = parse_member(reference.path)
        begin, is_deflated = payload_start(store, member), member.method != STORED
        array = _described(store, name.removesuffix(".npy"), file, begin, member.stored, is_deflated=is_deflated)
        if array.skip + array.num_bytes != member.size:
            raise SourceError(
                f"array {array.name!r} is damaged: {array.shape} takes {array.num_bytes} bytes, "
                f"got {member.size - array.skip}; copy the file again",
                path=file,
            )
        _check_crc32(store, array, member)
        arrays.append(array)
    return arrays


def _check_crc32(store: Store, array: StoredArray, member: ZipMember) -> None:
    """Raise SourceError unless the bytes of an array are those that the zip's directory tells of."""
    crc32 = num_bytes = 0
    pieces = _pieces(store, array.file, array.start, array.stored, is_deflated=array.is_deflated, read_bytes=READ_BYTES)
    for piece in pieces:
        crc32, num_bytes = zlib.crc32(piece, crc32), num_bytes + len(piece)
        if num_bytes > member.size:
            break
    if (num_bytes, crc32) != (member.size, member.crc32):
        raise SourceError(f"array {array.name!r} is damaged: its CRC-32 differs; copy the file again", path=array.file)


def _described(store: Store, name: str, file: str, start: int, stored: int, *, is_deflated: bool) -> StoredArray:
    pieces = _pieces(store, file, start, stored, is_deflated=is_deflated, read_bytes=1 << 16)
    head = b""
    while len(head) < MAX_NPY_HEADER_BYTES and (piece := next(pieces, b"")):
        head += piece
    try:
        header = npy_header(head[:MAX_NPY_HEADER_BYTES])
    except DecodeError as error:
        raise SourceError(f"array {name!r}: {error.args[0]}" if name else str(error.args[0]), path=file) from error
    descr = np.lib.format.dtype_to_descr(header.dtype)
    found = StoredArray(name, file, start, stored, is_deflated, header.end, header.shape, descr, header.order)
    if not is_deflated and header.end + header.num_bytes > stored:
        raise SourceError(
            f"array {name!r} is cut short: {header.shape} takes {header.num_bytes} bytes, got {stored - header.end}",
            path=file,
        )
    return found


def read_array(store: Store, array: StoredArray) -> Array:
    """Return an array, whole.

    Raises:
        SourceError: It is damaged, or longer than `MAX_ARRAY_BYTES`.
    """
    if array.num_bytes > MAX_ARRAY_BYTES:
        raise SourceError(
            f"array {array.name!r} has {array.num_bytes} bytes, expected at most {MAX_ARRAY_BYTES}", path=array.file
        )
    stream = _stream(store, array, 0)
    parts = [bytes(stream.take(min(READ_BYTES, left), array.name)) for left in range(array.num_bytes, 0, -READ_BYTES)]
    order: Any = array.order
    return np.ndarray(array.shape, _dtype(array), b"".join(parts), order=order)


def read_rows(store: Store, array: StoredArray, first: int, stop: int) -> Iterator[Array]:
    """Yield what the numbers `first <= i < stop` of the first axis have, in order. Raises as `read_array`."""
    if array.order != "C" and len(array.shape) > 1:
        raise SourceError(
            f"array {array.name!r} is in Fortran order, where a sample lies in many places; "
            "save numpy.ascontiguousarray of it",
            path=array.file,
        )
    row_bytes, dtype, shape = array.row_bytes, _dtype(array), array.shape[1:]
    at_once = max(1, READ_BYTES // max(1, row_bytes))
    stream = _stream(store, array, first) if array.is_deflated else None
    for begin in range(first, stop, at_once):
        count = min(at_once, stop - begin)
        num_bytes = count * row_bytes
        if stream is not None:
            data: bytes | memoryview = stream.take(num_bytes, f"array {array.name!r}")
        else:
            at = array.start + array.skip + begin * row_bytes
            data = store.get_range(array.file, start=at, length=num_bytes)
        yield from np.ndarray((count, *shape), dtype, data)


def _dtype(array: StoredArray) -> np.dtype[Any]:
    return np.lib.format.descr_to_dtype(array.dtype)


def _stream(store: Store, array: StoredArray, first: int) -> ByteStream:
    """Return the values of an array from a number of the first axis on."""
    before = array.skip + first * array.row_bytes
    if not array.is_deflated:
        start = array.start + before
        end = array.start + array.skip + array.num_bytes
        return ByteStream(
            read_pieces(store, array.file, start, end), name=array.file, start=start, num_bytes=end - start
        )
    pieces = _pieces(store, array.file, array.start, array.stored, is_deflated=True, read_bytes=READ_BYTES)
    stream = ByteStream(pieces, name=array.file)
    while before:
        before -= len(stream.take(min(before, READ_BYTES), f"array {array.name!r}"))
    return stream


def _pieces(store: Store, file: str, start: int, stored: int, *, is_deflated: bool, read_bytes: int) -> Pieces:
    pieces = read_pieces(store, file, start, start + stored, read_bytes=read_bytes)
    return inflate(pieces, name=file, codec="deflate", piece_bytes=read_bytes) if is_deflated else pieces
