"""CIFAR-10 and CIFAR-100 as they are downloaded: the Python version, pickled, and the binary version.

    data_batch_1 ... 5, test_batch, batches.meta       pickles: `data` (N x 3072), `labels`, `filenames`
    train, test, meta                                  CIFAR-100: `fine_labels` and `coarse_labels`
    data_batch_1.bin ..., test_batch.bin, train.bin    records: label (of CIFAR-100 coarse, fine), 3,072 bytes
    cifar-10-python.tar.gz, cifar-100-binary.tar.gz    either, in its archive

An image is 32 x 32 pixels, the planes of red, green and blue one after the other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError, SourceError
from shardpack.sources.archives.tar_stream import TarStreamStore, is_compressed_tar
from shardpack.sources.formats.drawn_rows import counted_rows
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.row_source import BadRow, Row, Unit
from shardpack.sources.unpickle import unpickle

NAME = "cifar"
_ARCHIVE = re.compile(r"cifar-100?-(?:python|binary)\.(?:tar\.gz|tgz|tar)")
_BATCH = re.compile(r"(data_batch_\d+|test_batch|train|test)(\.bin)?")
_PICKLE = b"\x80"
_SIDE, _PIXELS = 32, 3072
_MAX_BATCH_BYTES = 1 << 30
_MAX_NAMES_BYTES = 1 << 20
_CLASS_FILES = {  # file -> what its lists are called, of the fine and of the coarse classes
    "batches.meta": ("label_names", None),
    "meta": ("fine_label_names", "coarse_label_names"),
}
_TEXT_FILES = (("batches.meta.txt", None), ("fine_label_names.txt", "coarse_label_names.txt"))


@dataclass(frozen=True, slots=True)
class _Batch:
    """The images and labels of a file."""

    pixels: npt.NDArray[np.uint8]  # (n, 3072)
    labels: Sequence[int]
    coarse: Sequence[int] | None = None
    names: Sequence[str] | None = None


def detect(found: FoundFiles) -> bool:
    """Return whether these are files of CIFAR: by their names, and by their first bytes or their lengths."""
    if found.is_file and _ARCHIVE.fullmatch(_base(found.names[0])):
        return True
    batches = _batch_files(found)
    if not any(_base(name).startswith(("data_batch_", "train")) for name in batches):
        return False
    if batches[0].endswith(".bin"):
        return _label_bytes(found, batches[0]) is not None
    named = {_base(name) for name in found.names}
    return not named.isdisjoint(_CLASS_FILES) and found.head(batches[0], 2)[:1] == _PICKLE


def open(found: FoundFiles, options: FormatOptions) -> CifarFiles:  # noqa: A001 - the name in the protocol
    """Return the images with their labels; of the Python version, reads all batches to count them.

    Raises:
        SourceError: A file is damaged, or holds something else.
        OptionError: The files are pickles, and `unpickle` does not admit arrays; or an option does not fit.
    """
    options.refuse(NAME, "label_column")
    if options.key_column not in (None, "filename", ":row"):
        raise OptionError(f"key_column is {options.key_column!r}; of CIFAR it can be 'filename' or ':row'")
    if found.is_file and is_compressed_tar(found.names[0]):
        inside = TarStreamStore(found.store, found.names[0])
        found = replace(found, store=inside, names=tuple(inside.names()), is_file=False)
    batches = _batch_files(found)
    if not batches:
        raise SourceError(f"no batch of CIFAR is in {found.location!r}; expected data_batch_1, train, or train.bin")
    pickled = not batches[0].endswith(".bin")
    if pickled and options.unpickle != "numpy":
        raise OptionError(
            "the Python version of CIFAR is pickled; pass unpickle='numpy' (--unpickle numpy), which reads "
            "arrays of numbers and runs nothing, or pack the binary version"
        )
    fine, coarse = _class_names(found, pickled=pickled)
    units = tuple(
        Unit(name, count, count * _PIXELS, "test" if _base(name).startswith("test") else "train")
        for name in batches
        for count in (_count(found, name),)
    )
    field = options.raw or "png"
    classes = options.classes or options.class_list or fine
    told = f"; {len(classes)} classes" if classes else ""
    used = [name for name in found.names if _base(name) in {*_CLASS_FILES, *sum(_TEXT_FILES, ())}]
    sentence = (
        f"CIFAR: {counted_rows(units, 'image')} in {len(batches)} files; a sample is {field} + json "
        f"(label{', class' if classes else ''}{told}); key: {options.key_column or 'row number'}"
        f"{found.others([*batches, *used])}"
    )
    return CifarFiles(
        found,
        units,
        classes,
        coarse,
        field,
        options.key_column == "filename",
        found.version_of([*batches, *used], more=f"{NAME} {options.text()}"),
        sentence,
    )


@dataclass(frozen=True, slots=True)
class CifarFiles:
    """The rows of CIFAR, as `RowSource` says."""

    found: FoundFiles
    units: tuple[Unit, ...]
    classes: tuple[str, ...] | None
    coarse_classes: tuple[str, ...] | None
    field: str
    keys_are_names: bool
    version: str
    sentence: str

    @property
    def format(self) -> str:
        return NAME

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield images with their labels; see `RowSource.rows`. Memory: one batch."""
        keys = RowKeys.of(self.units)
        batch = _read_batch(self.found, self.units[unit].name)
        for row in range(len(batch.labels))[first:stop]:
            image = np.ascontiguousarray(batch.pixels[row].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0))
            try:
                label = _label("label", "class", batch.labels[row], self.classes)
                if batch.coarse is not None:
                    label |= _label("coarse_label", "coarse_class", batch.coarse[row], self.coarse_classes)
            except SourceError as error:
                yield BadRow(f"{self.units[unit].name}, image {row}", str(error))
                continue
            key = keys.number(unit, row)
            if batch.names is not None:
                label["filename"] = batch.names[row]
                key = batch.names[row].rpartition(".")[0] if self.keys_are_names else key
            yield Row(keys.key(unit, key), {self.field: image, "json": label})


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _batch_files(found: FoundFiles) -> list[str]:
    """Return the batches of images: those for training first, of one version."""
    names = [name for name in found.names if _BATCH.fullmatch(_base(name))]
    binary = [name for name in names if name.endswith(".bin")]
    return sorted(binary or names, key=lambda name: (_base(name).startswith("test"), name))


def _label(number_name: str, class_name: str, number: int, classes: Sequence[str] | None) -> dict[str, Any]:
    if classes is None:
        return {number_name: number}
    if not 0 <= number < len(classes):
        raise SourceError(f"{number_name} is {number}, and there are {len(classes)} classes")
    return {number_name: number, class_name: classes[number]}


def _label_bytes(found: FoundFiles, name: str) -> int | None:
    """Return how many labels each image of a binary file has, by the length of the file: 1 or 2; None for others."""
    size = found.size(name)
    if size and size % (_PIXELS + 2) == 0 and not _base(name).startswith("data_batch_"):
        return 2
    return 1 if size and size % (_PIXELS + 1) == 0 else None


def _count(found: FoundFiles, name: str) -> int:
    if name.endswith(".bin"):
        labels = _label_bytes(found, name)
        if labels is None:
            raise SourceError(f"{found.size(name)} bytes are not a number of CIFAR images; copy it again", path=name)
        return found.size(name) // (_PIXELS + labels)
    return len(_read_batch(found, name).labels)


def _read_batch(found: FoundFiles, name: str) -> _Batch:
    content = found.read(name, max_bytes=_MAX_BATCH_BYTES)
    return _binary(found, name, content) if name.endswith(".bin") else _pickled(name, content)


def _binary(found: FoundFiles, name: str, content: bytes) -> _Batch:
    labels = _label_bytes(found, name) or 1
    records = np.frombuffer(content, np.uint8).reshape(-1, _PIXELS + labels)
    fine, coarse = records[:, labels - 1].tolist(), records[:, 0].tolist()
    return _Batch(records[:, labels:], fine, coarse if labels == 2 else None)


def _pickled(name: str, content: bytes) -> _Batch:
    values = _texts(unpickle(content, "numpy", name=name))
    if not isinstance(values, dict):
        raise SourceError("not a batch of CIFAR: expected a dict", path=name)
    pixels, labels = values.get("data"), values.get("labels", values.get("fine_labels"))
    coarse, names = values.get("coarse_labels"), values.get("filenames")
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        raise SourceError(f"not a batch of CIFAR: expected data of N x {_PIXELS} bytes", path=name)
    for what, column, kind in (("labels", labels, int), ("coarse_labels", coarse, int), ("filenames", names, str)):
        if column is None and what != "labels":
            continue
        if not isinstance(column, list) or len(column) != len(pixels) or not all(type(one) is kind for one in column):
            raise SourceError(f"not a batch of CIFAR: expected {len(pixels)} {what} beside its images", path=name)
    assert isinstance(labels, list)
    return _Batch(pixels, labels, coarse, names)


def _class_names(found: FoundFiles, *, pickled: bool) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Return the names of the fine and of the coarse classes; None where there are none."""
    files = {_base(name): name for name in found.names}
    if pickled:
        for base, (fine, coarse) in _CLASS_FILES.items():
            if base in files:
                content = found.read(files[base], max_bytes=_MAX_NAMES_BYTES)
                values = _texts(unpickle(content, "numpy", name=files[base]))
                lists = values if isinstance(values, dict) else {}
                return _names(lists.get(fine), files[base]), _names(lists.get(coarse) if coarse else None, files[base])
    for fine_file, coarse_file in _TEXT_FILES:
        if fine_file in files:
            return _lines(found, files[fine_file]), _lines(found, files[coarse_file]) if coarse_file else None
    return None, None


def _names(values: Any, path: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    if (
        not isinstance(values, list)
        or not all(isinstance(name, str) for name in values)
        or len(set(values)) < len(values)
    ):
        raise SourceError("expected a list of different class names", path=path)
    return tuple(values)


def _lines(found: FoundFiles, name: str) -> tuple[str, ...] | None:
    text = found.read(name, max_bytes=_MAX_NAMES_BYTES).decode("utf-8", "replace")
    return _names(text.split() or None, name)


def _texts(value: Any) -> Any:
    """Return a value with the bytes of Python 2 as text, in keys and in lists of a dict."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list):
        return [_texts(one) if isinstance(one, bytes) else one for one in value]
    if isinstance(value, Mapping):
        return {_texts(key): _texts(one) for key, one in value.items()}
    return value
