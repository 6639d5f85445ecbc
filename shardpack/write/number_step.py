"""A step that numbers the classes in labels as the dataset does that samples are added to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.sources.class_numbers import ClassNumbers, is_label_field
from shardpack.write.transform import Counts, Fields, KeyedFields


@dataclass(frozen=True, slots=True)
class NumberClasses:
    """Changes the numbers in labels; see `sources/class_numbers.py`."""

    numbers: ClassNumbers

    def __call__(self, key: str, fields: Fields, _: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample with its labels numbered."""
        numbers = self.numbers
        return (
            (
                key,
                {
                    name: numbers.payload(name, value) if is_label_field(name) else value
                    for name, value in fields.items()
                },
            ),
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the classes and their numbers."""
        numbers = self.numbers
        return {
            "step": "number_classes",
            "classes": list(numbers.names),
            "own": None if numbers.own is None else list(numbers.own),
            "same": numbers.is_same,
        }
