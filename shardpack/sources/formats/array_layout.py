"""What the arrays of a file mean: samples along their first axis, one sample together, or a sample each. Pure.

images (n, h, w, 3), labels (n)        n samples; also x_train, y_train, x_test, y_test: two splits
image (h, w, 3), mask (h, w)           one sample
more than 16 arrays like images        a sample each, called like the array
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shardpack.sources.formats.choose_mapping import KEY_COLUMNS, LABEL_COLUMNS, MAIN_COLUMNS
from shardpack.sources.formats.split_names import KNOWN

Shapes = Mapping[str, tuple[int, ...]]  # of arrays, by their names

MANY = 16  # arrays of one sample, at most
_SPLIT = re.compile(
    rf"(?:(?P<first>{'|'.join(sorted(KNOWN))})_(?P<rest>.+)|(?P<start>.+)_(?P<last>{'|'.join(sorted(KNOWN))}))"
)
_SHORT = {"x": "image", "y": "label", "images": "image", "labels": "label", "": "image"}
_SINGULAR = frozenset((*KEY_COLUMNS, *LABEL_COLUMNS, *MAIN_COLUMNS, "mask"))
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True, slots=True)
class Along:
    """Samples along the first axis of arrays.

    Attributes:
        split: Their split, or None.
        num_rows: How many they are.
        columns: Column -> name of the array.
    """

    split: str | None
    num_rows: int
    columns: tuple[tuple[str, str], ...]


def column_of(name: str) -> str:
    """Return the column that an array is: "image" of "images", "key" of "keys"."""
    if name in _SHORT:
        return _SHORT[name]
    return name[:-1] if name.endswith("s") and name[:-1] in _SINGULAR else name


def along_first_axis(shapes: Shapes, *, is_only_file: bool) -> list[Along]:
    """Return the samples along the first axis of the arrays of a file; [] if they have no common first axis."""
    by_split: dict[str | None, dict[str, str]] = {}  # name of an array -> its name without the split
    for name in shapes:
        match = _SPLIT.fullmatch(name)
        split = match and (match["first"] or match["last"])
        by_split.setdefault(split, {})[name] = (match["rest"] or match["start"]) if match else name
    whole: dict[str | None, dict[str, str]] = {None: {name: name for name in shapes}}
    # An array such as test_score may be a value of each sample instead of a split.
    for groups in (by_split, whole):
        found = []
        for split, names in groups.items():
            sides = [shapes[name] for name in names]
            if _share_first_axis(sides, is_only_file=is_only_file and len(groups) == 1):
                found.append(Along(split, sides[0][0], tuple(_columns(names).items())))
        if len(found) == len(groups):
            return found
    return []


def columns_of(names: Sequence[str]) -> dict[str, str]:
    """Return column -> array: an array keeps its own name where another one has that of the column."""
    return _columns({name: name for name in names})


def _columns(names: Mapping[str, str]) -> dict[str, str]:
    columns: dict[str, str] = {}
    own = set(names.values())
    for name, plain in names.items():
        column = column_of(plain)
        if column in columns or (column != plain and column in own):
            column = plain if plain not in columns else name
        columns[column] = name
    return columns


def _share_first_axis(sides: Sequence[tuple[int, ...]], *, is_only_file: bool) -> bool:
    if not all(sides) or len({side[0] for side in sides}) != 1:
        return False
    if any(len(side) == 4 for side in sides):
        return True
    if len(sides) == 1:
        return is_only_file and len(sides[0]) == 3 and sides[0][2] not in _CHANNELS
    return any(len(side) == 1 or side[1:] == (1,) for side in sides)


def is_a_sample_each(shapes: Shapes) -> bool:
    """Return whether each array of a file is an image of its own."""
    return len(shapes) > MANY and all(
        len(shape) == 2 or (len(shape) == 3 and shape[2] in _CHANNELS) for shape in shapes.values()
    )
