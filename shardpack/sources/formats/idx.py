"""Images and labels in two idx files, as MNIST, Fashion-MNIST, KMNIST, QMNIST and EMNIST have them; also gzipped.

    train-images-idx3-ubyte[.gz]   0, 0, type, rank, then rank lengths (big-endian, 32 bits), then the numbers
    train-labels-idx1-ubyte[.gz]   one label an image; of QMNIST several, of which the first is the digit

`train` and `t10k` or `test` in the name of a file are its split. Images are stored as png, or as npy.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import ShardNotFoundError, SourceError
from shardpack.format.split_names import in_split_order
from shardpack.sources.formats.byte_stream import ByteStream, inflate, read_pieces
from shardpack.sources.formats.drawn_rows import counted_rows
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import Row, Unit

NAME = "idx"
_IMAGES = re.compile(r"(.*)images[-.]idx[34]-ubyte(?:\.gz)?")
_GZIP = b"\x1f\x8b"
_TYPES: dict[int, np.dtype[Any]] = {8: np.dtype("u1"), 9: np.dtype("i1"), 11: np.dtype(">i2"), 12: np.dtype(">i4")}
_MAX_IMAGE_BYTES = 64 << 20
_MAX_LABEL_BYTES = 1 << 30
_TEST = re.compile(r"(?:^|[-_])t10k(?:[-_]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Header:
    """The start of an idx file.

    Attributes:
        dtype: Of its numbers.
        shape: Lengths; the first is the number of rows.
        num_bytes: Bytes of the header.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    num_bytes: int

    @property
    def row_bytes(self) -> int:
        """How many bytes a row has."""
        return prod(self.shape[1:]) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class _Pair:
    """A file of images, that of their labels, or None, and their split."""

    images: str
    labels: str | None
    header: _Header
    split: str | None

    @property
    def unit(self) -> Unit:
        num_rows = self.header.shape[0]
        return Unit(self.images, num_rows, num_rows * self.header.row_bytes, self.split)


def detect(found: FoundFiles) -> bool:
    """Return whether these are idx files of images: by name, and by the first bytes unless they are compressed."""
    return any(_is_idx(found.head(name)) for name in _image_files(found)[:1])


def open(found: FoundFiles, options: FormatOptions) -> IdxFiles:  # noqa: A001 - the name in the protocol
    """Return the images with their labels; reads the headers.

    Raises:
        SourceError: A file is damaged, or there are more or fewer labels than images.
        OptionError: An option does not fit.
    """
    options.refuse(NAME, "unpickle", "key_column", "label_column")
    pairs = _pairs(found)
    used = [name for pair in pairs for name in (pair.images, pair.labels) if name is not None]
    return IdxFiles(
        found,
        pairs,
        units=tuple(pair.unit for pair in pairs),
        classes=options.classes or options.class_list,
        field=options.raw or "png",
        version=found.version_of(used, more=f"{NAME} {options.text()}"),
        sentence=_sentence(pairs, options.raw or "png") + found.others([*used, *(f"{name}.gz" for name in used)]),
    )


def _sentence(pairs: Sequence[_Pair], field: str) -> str:
    """Return what was found, and what a sample will be."""
    counted = counted_rows([pair.unit for pair in pairs], "image")
    sizes = sorted({"x".join(map(str, pair.header.shape[1:])) for pair in pairs})
    unlabelled = sum(pair.labels is None for pair in pairs)
    said = [
        f"idx (MNIST): {counted} of {', '.join(sizes)} pixels",
        f"a sample is {field}{' + json (label)' if unlabelled < len(pairs) else ', without labels'}",
        "key: row number",
    ]
    if 0 < unlabelled < len(pairs):
        said.append(f"{unlabelled} of {len(pairs)} files have no labels")
    if any("emnist" in pair.images.lower() for pair in pairs):
        said.append("EMNIST stores its images transposed, and so they are kept")
    return "; ".join(said)


@dataclass(frozen=True, slots=True)
class IdxFiles:
    """The rows of idx files, as `RowSource` says."""

    found: FoundFiles
    pairs: tuple[_Pair, ...]
    units: tuple[Unit, ...]
    classes: tuple[str, ...] | None
    field: str
    version: str
    sentence: str

    @property
    def format(self) -> str:
        return NAME

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row]:
        """Yield images with their labels; see `RowSource.rows`."""
        pair, keys = self.pairs[unit], RowKeys.of(self.units)
        header = pair.header
        end = header.shape[0] if stop is None else min(stop, header.shape[0])
        labels = None if pair.labels is None else _labels(self.found, pair)
        stream = _stream_at(self.found, pair.images, header, first, end)
        for row in range(first, end):
            data = stream.take(header.row_bytes, f"image {row}")
            image = np.frombuffer(data, header.dtype).reshape(header.shape[1:])
            fields: dict[str, object] = {self.field: image}
            if labels is not None:
                label = int(labels[row])
                fields["json"] = {"label": label} | self._class(label)
            yield Row(keys.key(unit, keys.number(unit, row)), fields)
        if end == header.shape[0]:
            _expect_end(stream, pair.images)

    def _class(self, label: int) -> dict[str, str]:
        if self.classes is None or not 0 <= label < len(self.classes):
            return {}
        return {"class": self.classes[label]}


def _image_files(found: FoundFiles) -> list[str]:
    """Return the files of images; of a compressed one and what was unpacked of it, the latter."""
    names = [name for name in found.names if _IMAGES.fullmatch(name.rpartition("/")[2])]
    return [name for name in names if not (name.endswith(".gz") and name.removesuffix(".gz") in names)]


def _is_idx(head: bytes) -> bool:
    return head.startswith(_GZIP) or (head[:2] == b"\0\0" and head[2:3] == b"\x08" and head[3:4] in (b"\3", b"\4"))


def _pairs(found: FoundFiles) -> tuple[_Pair, ...]:
    """Return the files of images with those of their labels, in the order of their splits."""
    names = _image_files(found)
    if not names:
        raise SourceError(
            f"no idx file of images is in {found.location!r}; expected names such as train-images-idx3-ubyte"
        )
    splits = ("test" if _TEST.search(name.rpartition("/")[2]) else None for name in names)
    of_names = zip(names, splits, splits_of(names), strict=True)
    pairs = [_pair(found, name, split or by_name) for name, split, by_name in of_names]
    order = in_split_order({pair.split for pair in pairs if pair.split is not None})
    return tuple(sorted(pairs, key=lambda pair: len(order) if pair.split is None else order.index(pair.split)))


def _pair(found: FoundFiles, images: str, split: str | None) -> _Pair:
    labels = [name for name in _label_names(images) if _is_there(found, name)]
    header = _header(found, images)
    if header.dtype.itemsize != 1 or len(header.shape) not in (3, 4) or not 0 < header.row_bytes <= _MAX_IMAGE_BYTES:
        raise SourceError(f"expected images of bytes, got {header.dtype} of shape {header.shape}", path=images)
    if labels and (count := _header(found, labels[0]).shape[0]) != header.shape[0]:
        raise SourceError(f"{count} labels for {header.shape[0]} images; copy both files again", path=labels[0])
    return _Pair(images, labels[0] if labels else None, header, split)


def _label_names(images: str) -> Iterator[str]:
    """Yield the names that the labels of a file of images may have."""
    folder, slash, base = images.rpartition("/")
    match = _IMAGES.fullmatch(base)
    assert match is not None
    for kind in ("idx1-ubyte", "idx2-int"):
        for separator in "-.":
            for ending in ("", ".gz"):
                yield f"{folder}{slash}{match[1]}labels{separator}{kind}{ending}"


def _is_there(found: FoundFiles, name: str) -> bool:
    if not found.is_file:
        return name in found.names
    try:
        found.size(name)
    except ShardNotFoundError:
        return False
    return True


def _header(found: FoundFiles, name: str) -> _Header:
    stream = _stream(found, name)
    zeros, kind, rank = struct.unpack(">HBB", stream.take(4, "the header"))
    if zeros or kind not in _TYPES or not 1 <= rank <= 4:
        raise SourceError("not an idx file: expected two zero bytes, a type and a rank", path=name, offset=0)
    header = _Header(_TYPES[kind], struct.unpack(f">{rank}I", stream.take(4 * rank, "the header")), 4 + 4 * rank)
    expected = header.num_bytes + header.shape[0] * header.row_bytes
    if not found.head(name).startswith(_GZIP) and found.size(name) != expected:
        raise SourceError(
            f"its header says {header.shape[0]} rows, so {expected} bytes; it has {found.size(name)}; copy it again",
            path=name,
        )
    return header


def _stream(found: FoundFiles, name: str, start: int = 0, stop: int | None = None) -> ByteStream:
    """Return the bytes of an idx file, from an offset on if it is not compressed."""
    if found.head(name).startswith(_GZIP):
        return ByteStream(inflate(read_pieces(found.store, name), name=name, codec="gzip"), name=name)
    end = found.size(name) if stop is None else stop
    return ByteStream(read_pieces(found.store, name, start, end), name=name, start=start, num_bytes=end - start)


def _stream_at(found: FoundFiles, name: str, header: _Header, first: int, end: int) -> ByteStream:
    start, stop = (header.num_bytes + row * header.row_bytes for row in (first, end))
    stream = _stream(found, name, start, stop)
    if stream.offset < start:  # it is compressed
        stream.take(header.num_bytes, "the header")
        for row in range(first):
            stream.take(header.row_bytes, f"image {row}")
    return stream


def _labels(found: FoundFiles, pair: _Pair) -> npt.NDArray[Any]:
    """Return the label of each image: of several, the first."""
    assert pair.labels is not None
    header, stream = _header(found, pair.labels), _stream(found, pair.labels)
    num_bytes = header.shape[0] * header.row_bytes
    if num_bytes > _MAX_LABEL_BYTES:
        raise SourceError(f"{num_bytes} bytes of labels, expected at most {_MAX_LABEL_BYTES}", path=pair.labels)
    stream.take(header.num_bytes, "the header")
    data = stream.take(num_bytes, "the labels")
    _expect_end(stream, pair.labels)
    return np.frombuffer(data, header.dtype).reshape(header.shape[0], -1)[:, 0]


def _expect_end(stream: ByteStream, name: str) -> None:
    """Raise if bytes follow; of a compressed file, its own checksum is compared on the way."""
    if not stream.at_end():
        raise SourceError("bytes follow the last row; copy the file again", path=name, offset=stream.offset)
