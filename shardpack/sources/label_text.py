"""Labels of tables in which a list or object is a text: `annotations` of a CSV, of a TFRecord, or of our own exports.

What is called as in the one shape of labels (`label_shape.py`) and is JSON of that shape becomes its value, so that it
follows its image. A table has all members in all objects, and null where nothing is said: of annotations, nulls are
left out. Any other text stays one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from shardpack.codecs.field_types import opened


def from_text(name: str, value: Any, said: set[str] | None = None) -> Any:
    """Return a value of a label as the shape has it; the value itself if it is not of the shape.

    Args:
        name: Its name in the label.
        value: The value.
        said: Receives the names of what was a text.
    """
    fits = _FITS.get(name)
    if fits is None:
        return value
    found = opened(value) if isinstance(value, str) else value
    if not fits(found):
        return value
    if isinstance(value, str) and said is not None:
        said.add(name)
    return [_annotation(one, said) for one in found] if fits is _are_objects else found


def texts_among(labels: Iterable[Mapping[str, Any]]) -> str:
    """Return which names of some labels hold texts that `from_text` reads, for the line before the work; "" if none."""
    said: set[str] = set()
    for label in labels:
        for name, value in label.items():
            from_text(name, value, said)
    return f"{', '.join(sorted(said))} read as JSON" if said else ""


def _annotation(value: Mapping[str, Any], said: set[str] | None) -> dict[str, Any]:
    return {name: from_text(name, member, said) for name, member in value.items() if member is not None}


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) in {int, float} for one in value)


def _is_segmentation(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and all(map(_are_numbers, value)))


_FITS: dict[str, Callable[[Any], bool]] = {
    "annotations": _are_objects,
    "segments_info": _are_objects,
    "captions": _are_texts,
    "segmentation": _is_segmentation,
    "keypoints": _are_numbers,
}
TEXTS = frozenset(_FITS)  # names that are looked at
