"""Files of COCO annotations, written from lines of JSON, one for each image, without holding them all in memory."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from shardpack.errors import ExportError

Object = dict[str, Any]


class _Image(NamedTuple):
    record: Object
    own_id: Any
    annotations: list[Object]
    captions: list[str]


class OwnIds(NamedTuple):
    """Whether all images, and all annotations, have ids of their own."""

    images: bool
    annotations: bool


@dataclass(frozen=True, slots=True)
class Categories:
    """The categories of a dataset.

    Attributes:
        entries: As they stand in a file.
        number_of: Label -> number of its category; None if annotations keep the numbers of the source.
    """

    entries: tuple[Object, ...]
    number_of: Mapping[int, int] | None


def categories_of(seen: Collection[tuple[Any, ...]], classes: Sequence[str] | None) -> Categories:
    """Return the categories, from (category_id, label, class) of all annotations and the class names.

    Raises:
        ExportError: An annotation has no label, and the numbers of the source are not those of one class each; or a
            label has two names.
    """
    return _by_number(seen, classes) or _by_label(seen, classes)


def _by_number(seen: Collection[tuple[Any, ...]], classes: Sequence[str] | None) -> Categories | None:
    """Return the categories with the numbers of the source; None if these are not those of one class each."""
    names: dict[Any, set[str]] = {}
    labels: dict[Any, set[Any]] = {}
    for number, label, name in seen:
        names.setdefault(number, set()).add(_name(label, name, classes) or str(number))
        labels.setdefault(number, set()).add(label)
    are_numbers = all(isinstance(number, int) and not isinstance(number, bool) for number in names)
    if not are_numbers or any(len(own) > 1 for own in (*names.values(), *labels.values())):
        return None
    used = [label for (label,) in labels.values() if label is not None]
    if len(set(used)) < len(used):
        return None
    entries = {number: name for number, (name,) in names.items()}
    for label, name in enumerate(classes or ()):
        if label not in used:
            entries[label + 1 if label + 1 not in entries else max(entries) + 1] = name
    return Categories(_sorted(entries), None)


def _by_label(seen: Collection[tuple[Any, ...]], classes: Sequence[str] | None) -> Categories:
    """Return a category for each label, numbered from 1. Raises as `categories_of`."""
    if any(label is None for _, label, _ in seen):
        raise ExportError("category_id does not stand for one class each, and annotations have no label; add labels")
    names: dict[int, str] = dict(enumerate(classes or ()))
    for _, label, name in sorted(seen, key=repr):
        if (own := _name(label, name, classes)) is not None:
            refuse_two_names(label, names.setdefault(label, own), own)
    for _, label, _ in seen:
        names.setdefault(label, str(label))
    number_of = {label: label + 1 for label in names}
    return Categories(_sorted({number_of[label]: name for label, name in names.items()}), number_of)


def _sorted(entries: Mapping[int, str]) -> tuple[dict[str, Any], ...]:
    """Return categories as COCO has them, ascending by number."""
    return tuple({"id": number, "name": entries[number]} for number in sorted(entries))


def refuse_two_names(label: int, known: str, name: str) -> None:
    """Refuse a label that stands for two classes.

    Raises:
        ExportError: The names differ.
    """
    if name != known:
        raise ExportError(f"label {label} is called {known!r} and {name!r}; correct the labels, or their classes")


def _name(label: Any, name: Any, classes: Sequence[str] | None) -> str | None:
    if isinstance(name, str):
        return name
    return classes[label] if classes is not None and isinstance(label, int) and label < len(classes) else None


def has_own_ids(paths: Iterable[str]) -> OwnIds:
    """Return whether the ids of the source can be kept: integers, there and different."""
    images, annotations = _Ids(), _Ids()
    for image in _images(paths):
        images.add(image.own_id)
        for one in image.annotations:
            annotations.add(one.get("id"))
    return OwnIds(images.are_unique(), annotations.are_unique())


class _Ids:
    """Collects ids, 8 bytes each, as long as all are integers."""

    def __init__(self) -> None:
        self._values: array[int] | None = array("q")

    def add(self, value: Any) -> None:
        if self._values is not None:
            if type(value) is int and abs(value) < 1 << 62:
                self._values.append(value)
            else:
                self._values = None

    def are_unique(self) -> bool:
        return self._values is not None and len(np.unique(np.frombuffer(self._values, np.int64))) == len(self._values)


class CocoFile:
    """One file. A context manager; write its lists in any order, each once."""

    def __init__(self, path: str, lines: Sequence[str], ids: OwnIds) -> None:
        """Open the file; `lines` are the files with images, one a line."""
        self._file = open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed by __exit__
        self._lines, self._ids = lines, ids
        self._lists = 0
        self._file.write("{")

    def __enter__(self) -> CocoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.write("}")
        self._file.close()

    def write_images(self) -> None:
        """Write the record of each image."""
        self._write("images", ({"id": number, **image.record} for number, image in self._numbered()))

    def write_annotations(self, categories: Categories) -> None:
        """Write all annotations, with the number of their image and of their category."""
        self._write("annotations", self._annotations(categories.number_of))

    def write_categories(self, categories: Categories) -> None:
        """Write the categories."""
        self._write("categories", categories.entries)

    def write_captions(self) -> None:
        """Write each caption as an annotation."""
        captions = ((number, caption) for number, image in self._numbered() for caption in image.captions)
        self._write(
            "annotations",
            ({"id": at, "image_id": number, "caption": caption} for at, (number, caption) in enumerate(captions, 1)),
        )

    def _numbered(self) -> Iterator[tuple[int, _Image]]:
        for count, image in enumerate(_images(self._lines), start=1):
            yield image.own_id if self._ids.images else count, image

    def _annotations(self, number_of: Mapping[int, int] | None) -> Iterator[Object]:
        count = 0
        for number, image in self._numbered():
            for one in image.annotations:
                count += 1
                label = one.pop("label")
                del one["class"]
                own_id = one.pop("id", None)
                one.pop("image_id", None)  # that of the source
                if number_of is not None:
                    one["category_id"] = number_of[label]
                yield {"id": own_id if self._ids.annotations else count, "image_id": number, **one}

    def _write(self, name: str, values: Iterable[Object]) -> None:
        self._file.write(f'{", " if self._lists else ""}"{name}": [')
        self._lists += 1
        for count, value in enumerate(values):
            self._file.write((",\n" if count else "\n") + json.dumps(value))
        self._file.write("\n]")


def _images(paths: Iterable[str]) -> Iterator[_Image]:
    for path in paths:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                yield _Image(*json.loads(line))
