"""A shard of MosaicML's MDS: u32 samples | (samples + 1) u32 offsets | JSON of its columns | samples.

A sample is a u32 length for each column whose length is not fixed, then the values, in the order of columns. A shard
may be compressed as a whole; it is then inflated into memory, up to the length that its index tells.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from shardpack.codecs.compression import decompress
from shardpack.errors import DecodeError, SourceError
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.mds_values import decoder_of
from shardpack.storage.protocols import RangeReader

MAX_SHARD_BYTES = 1 << 30  # of an inflated one; MDS makes them of 64 MiB, unless told
_MAX_CONFIG_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_SUFFIXES = {"zstd": "zst", "zst": "zst", "gz": "gz"}


@dataclass(frozen=True, slots=True)
class MdsShard:
    """A shard. Pickles.

    Attributes:
        name: Its file.
        num_samples: How many samples it has.
        num_bytes: Its length; of a compressed one after it is inflated.
        codec: "zst" or "gz"; None if it is not compressed.
    """

    name: str
    num_samples: int
    num_bytes: int
    codec: str | None = None


class _Bytes(Protocol):
    def __call__(self, start: int, length: int, /) -> bytes: ...


def codec_of(name: str) -> str | None:
    """Return how a shard of this name is compressed.

    Raises:
        SourceError: In a way that we do not read.
    """
    suffix = name.rpartition(".")[2]
    if suffix == "mds":
        return None
    if suffix not in _SUFFIXES:
        raise SourceError(f"compressed as {suffix}, expected {', '.join(_SUFFIXES)} or none; decompress it", path=name)
    return _SUFFIXES[suffix]


class MdsReader:
    """Reads the samples of a shard. Not for several threads."""

    def __init__(self, store: RangeReader, shard: MdsShard) -> None:
        """Read the header.

        Raises:
            SourceError: It is damaged, or has another number of samples than its index tells.
        """
        self._shard = shard
        self._get, self._size = _opened(store, shard)
        count = struct.unpack("<I", self._bytes(0, 4))[0]
        if count != shard.num_samples:
            raise SourceError(f"{count} samples, expected {shard.num_samples} by its index", path=shard.name)
        offsets = np.frombuffer(self._bytes(4, 4 * (count + 1)), "<u4").astype(np.int64)
        begin = 4 + 4 * (count + 1)
        if offsets[0] < begin or offsets[-1] > self._size or bool((np.diff(offsets) < 0).any()):
            raise SourceError("its offsets are not ascending within the file; copy it again", path=shard.name)
        self._offsets = offsets
        length = min(int(offsets[0]) - begin, _MAX_CONFIG_BYTES)
        self.columns, self._sizes = _columns(self._bytes(begin, length), shard.name)
        self._decoders = [_decoder(name, encoding, shard.name) for name, encoding in self.columns.items()]

    def samples(self, first: int, stop: int) -> Iterator[tuple[int, memoryview]]:
        """Yield (number, bytes) of samples, which are read about a MiB at once."""
        offsets = self._offsets
        while first < stop:
            last = int(np.searchsorted(offsets, int(offsets[first]) + _READ_BYTES, side="right")) - 1
            last = min(max(last, first + 1), stop)
            base = int(offsets[first])
            data = memoryview(self._bytes(base, int(offsets[last]) - base))
            bounds = (offsets[first : last + 1] - base).tolist()
            yield from ((first + i, data[a:b]) for i, (a, b) in enumerate(pairwise(bounds)))
            first = last

    def values(self, data: bytes | memoryview) -> Columns:
        """Return the columns of a sample.

        Raises:
            DecodeError: It does not hold what its shard says.
        """
        unknown = sum(size is None for size in self._sizes)
        if 4 * unknown > len(data):
            raise DecodeError(f"a sample of {len(data)} bytes, expected at least {4 * unknown}")
        lengths = iter(struct.unpack_from(f"<{unknown}I", data))
        at = 4 * unknown
        values: dict[str, Any] = {}
        for name, size, decode in zip(self.columns, self._sizes, self._decoders, strict=True):
            length = next(lengths) if size is None else size
            if at + length > len(data):
                raise DecodeError(f"column {name!r} ends at byte {at + length} of a sample of {len(data)}")
            try:
                values[name] = decode(bytes(data[at : at + length]))
            except DecodeError as error:
                raise DecodeError(f"column {name!r}: {error}") from error
            at += length
        return values

    def _bytes(self, start: int, length: int) -> bytes:
        if start + length > self._size:
            raise SourceError(
                f"cut short: expected {start + length} bytes, got {self._size}; copy it again", path=self._shard.name
            )
        return self._get(start, length)


def _opened(store: RangeReader, shard: MdsShard) -> tuple[_Bytes, int]:
    size = store.size(shard.name)
    if shard.codec is None:
        return lambda start, length: bytes(store.get_range(shard.name, start=start, length=length)), size
    if shard.num_bytes > MAX_SHARD_BYTES:
        raise SourceError(
            f"{shard.num_bytes} bytes to inflate, expected at most {MAX_SHARD_BYTES}; decompress it", path=shard.name
        )
    stored = store.get_range(shard.name, start=0, length=size)
    try:
        data = decompress(shard.codec, stored, shard.num_bytes)
    except DecodeError as error:
        raise SourceError(str(error.args[0]), path=shard.name) from error
    return lambda start, length: data[start : start + length], len(data)


def _columns(data: bytes, name: str) -> tuple[dict[str, str], list[int | None]]:
    """Return the encodings of columns by their names, and their fixed lengths."""
    try:
        config = json.loads(data.decode())
        names, encodings, sizes = config["column_names"], config["column_encodings"], config["column_sizes"]
        fine = len(set(names)) == len(names) == len(encodings) == len(sizes)
        fine = fine and all(isinstance(text, str) for text in (*names, *encodings))
        fine = fine and all(size is None or (isinstance(size, int) and size >= 0) for size in sizes)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise SourceError(f"what it says of its columns is damaged: {error}", path=name) from error
    if not fine:
        raise SourceError("what it says of its columns is damaged: names, encodings and sizes do not agree", path=name)
    return dict(zip(names, encodings, strict=True)), list(sizes)


def _decoder(column: str, encoding: str, name: str) -> Any:
    try:
        return decoder_of(encoding)
    except SourceError as error:
        raise SourceError(f"column {column!r}: {error.args[0]}", path=name) from error
