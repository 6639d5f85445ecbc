"""Labels that samples are to get: completed, merged with the old ones, and checked, before anything is written.

rows --classes--> complete --keys--> positions --old labels--> values --checks--> new labels
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xxhash import xxh3_64, xxh3_128

from shardpack.edit.base import EditBase
from shardpack.edit.find_keys import SHOWN, find_keys
from shardpack.edit.label_values import class_number_fields, label_field, read_fields, read_labels
from shardpack.errors import InvalidKeyError, SourceError
from shardpack.format.naming import PLAIN_KEY, key_bytes, key_problem
from shardpack.read.sample import Sample
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress
from shardpack.sources.json_labels import compact_json
from shardpack.sources.label_classes import complete_labels, merged_label
from shardpack.sources.label_rows import LabelRow, raise_problems
from shardpack.sources.label_shape import SHAPE, label_problems
from shardpack.sources.source import Problems

_CLASS = frozenset({"label", "class"})


@dataclass(frozen=True, slots=True, eq=False)
class NewLabels:
    """Labels as they will be written.

    Attributes:
        positions: (n) stored positions of their samples, ascending.
        keys, texts: (n) their keys, and their labels as JSON.
        numbers: (n) field -> number of the class that it gets, of the fields that hold such a number alone.
        field: The field that holds the labels.
        classes: The class list that they need; None if the dataset has none.
        new_classes: The classes of it that the dataset lacks.
    """

    positions: Integers
    keys: Sequence[str]
    texts: Sequence[bytes]
    numbers: Sequence[Mapping[str, int]]
    field: str
    classes: tuple[str, ...] | None
    new_classes: Sequence[str]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the layer, sorted."""
        return tuple(sorted({self.field}.union(*self.numbers)))

    def samples(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield (key, field -> plain text), in the order of the positions."""
        for key, text, numbers in zip(self.keys, self.texts, self.numbers, strict=True):
            yield key, {self.field: text, **{field: b"%d" % number for field, number in numbers.items()}}

    def digest(self) -> str:
        """Return 8 hexadecimal digits that differ where another layer would be written."""
        hashed = xxh3_64(compact_json([self.field, self.classes]))
        for key, texts in self.samples():
            hashed.update(b"%s\0%s\0" % (key_bytes(key), b"\0".join(texts.values())))
        return hashed.hexdigest()[:8]


@dataclass(frozen=True, slots=True, eq=False)
class AskedLabels:
    """What was asked for.

    Attributes:
        rows: The rows, as they were read.
        name: What they were read from, for errors.
        update: Whether they set names in the old labels; otherwise they are the new labels.
        new_classes: Whether classes that are not in the list are added to it.
    """

    rows: Sequence[LabelRow]
    name: str
    update: bool
    new_classes: bool

    def digest(self) -> str:
        """Return a text that differs for other labels and options."""
        hashed = xxh3_128(repr((self.update, self.new_classes)).encode())
        for row in self.rows:
            hashed.update(repr((row.key, row.value)).encode("utf-8", "backslashreplace"))
        return hashed.hexdigest()

    def labels_of(self, base: EditBase, progress: Progress) -> NewLabels:
        """Return the labels for the samples of a dataset, checked.

        Raises:
            SourceError: Rows contradict the class list or the image, or do not fit the old labels.
            UnknownKeyError: The dataset has no samples with some of the keys.
            InvalidKeyError: No layer can hold some of the keys.
        """
        manifest, problems = base.manifest, Problems()
        rows, classes = complete_labels(self.rows, manifest.classes, new_classes=self.new_classes, name=self.name)
        found = find_keys(base, [row.key for row in rows], what=self.name, progress=progress)
        _check_keys(rows, self.name)
        order = np.argsort(found, kind="stable")
        positions, rows = found[order], [rows[number] for number in order.tolist()]
        values = [row.value for row in rows]
        if self.update:
            old = read_labels(base, positions, progress)
            values = [_merged(row, label, problems) for row, label in zip(rows, old, strict=True)]
        if manifest.option("label_shape") == SHAPE:
            for row, value in zip(rows, values, strict=True):
                _check_shape(row, value, problems)
        numbers = _all_class_numbers(base, positions, rows, values, problems=problems, progress=progress)
        raise_problems(problems, self.name)
        return NewLabels(
            positions=positions,
            keys=[row.key for row in rows],
            texts=list(map(compact_json, values)),
            numbers=numbers,
            field=label_field(manifest),
            classes=classes,
            new_classes=list(classes or ())[len(manifest.classes or ()) :],
        )


def _check_keys(rows: Sequence[LabelRow], name: str) -> None:
    """Refuse keys, which only a dataset of tars made elsewhere has, that a layer cannot hold."""
    unsafe = [row.key for row in rows if not PLAIN_KEY.fullmatch(row.key) and key_problem(row.key)]
    if unsafe:
        shown = ", ".join(f"{key!r:.80} ({key_problem(key)})" for key in unsafe[:SHOWN])
        more = f", and {len(unsafe) - SHOWN:,} more" if len(unsafe) > SHOWN else ""
        raise InvalidKeyError(
            f"{name}: {len(unsafe):,} of {len(rows):,} keys are none that new samples may have, so no layer can hold "
            f"them: {shown}{more}; pack the dataset with rename_keys (--rename-keys) first, and relabel that by its "
            "new keys; nothing was changed"
        )


def _all_class_numbers(
    base: EditBase,
    positions: Integers,
    rows: Sequence[LabelRow],
    values: Sequence[Any],
    *,
    problems: Problems,
    progress: Progress,
) -> list[Mapping[str, int]]:
    """Return (n) what `_class_numbers` does for each sample; samples of rows that name no class are not read."""
    numbers: list[Mapping[str, int]] = [{} for _ in rows]
    if fields := class_number_fields(base.manifest):
        given = [at for at, row in enumerate(rows) if _names_class(row)]
        for at, sample in zip(given, read_fields(base, positions[given], fields, progress), strict=True):
            numbers[at] = _class_numbers(rows[at], values[at], sample, problems)
    return numbers


def _names_class(row: LabelRow) -> bool:
    return isinstance(row.value, dict) and not _CLASS.isdisjoint(row.value)


def _class_numbers(row: LabelRow, value: Any, sample: Sample, problems: Problems) -> Mapping[str, int]:
    """Return field -> number of the new class, of the fields beside a label that hold another number.

    A class without a number is added to `problems`.
    """
    if not sample or not isinstance(value, dict):  # without such a field, or rejected already
        return {}
    number = value.get("label")
    if type(number) is not int:
        problems.reject(
            row.where,
            f"the label has no number for its class (label is {number!r:.60}), and the sample has one in "
            f"{next(iter(sample))!r}, which would stay; give the number as label, too",
        )
        return {}
    return {field: number for field, payload in sample.items() if payload != b"%d" % number}


def _merged(row: LabelRow, old: Any, problems: Problems) -> Any:
    """Return the old label with the values of a row; what is wrong with them is added to `problems`."""
    if not isinstance(row.value, dict):
        problems.reject(row.where, f"{row.value!r:.60} updates nothing, expected an object; correct it")
        return None
    try:
        return merged_label({} if old is None else old, row.value)
    except SourceError as error:
        problems.reject(row.where, str(error))
        return None


def _check_shape(row: LabelRow, value: Any, problems: Problems) -> None:
    """Add to `problems` what in a label contradicts its own width and height."""
    if not isinstance(value, dict):
        problems.reject(row.where, f"the label is {value!r:.60}, expected an object as the other labels are")
        return
    width, height = value.get("width"), value.get("height")
    sized = isinstance(width, int) and isinstance(height, int)
    found = list(label_problems(value if sized else {**value, "width": None, "height": None}, *_size(width, height)))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        problems.reject(row.where, f"{found[0]}{more}")


def _size(width: Any, height: Any) -> tuple[int, int]:
    """Return the size of an image as its label says it; without one, one so large that everything is inside."""
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return 1 << 31, 1 << 31
