"""What datasets are to samples."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.hdf5_file import Stored
from shardpack.sources.formats.hdf5_layout import find_layout


def layout_of(**shapes):
    """Return (kind, split, number of samples) of each part, and what is left."""
    stored = [Stored(path.replace("__", "/"), shape, "number", 8, 1) for path, shape in shapes.items()]
    layout = find_layout(stored, lambda of: of.path.endswith("jpg"))
    return [(part.kind, part.split, part.num_rows) for part in layout.parts], sorted(layout.left)


@pytest.mark.parametrize(
    ("shapes", "parts", "left"),
    [
        ({"image": (5, 3, 3), "label": (5,)}, [("table", None, 5)], []),
        ({"image": (5, 3, 3), "label": (5,), "mean": (3,), "one": ()}, [("table", None, 5)], ["mean", "one"]),
        ({"data__image": (5, 3, 3)}, [("table", None, 5)], []),
        ({"x_train": (5, 3), "x_test": (2, 3), "y_train": (5,), "y_test": (2,), "n": (3,)},
         [("table", "train", 5), ("table", "test", 2)], ["n"]),
        ({"train__x": (5, 3), "test__x": (2, 3)}, [("table", "test", 2), ("table", "train", 5)], []),
        ({"g1__image": (3, 3), "g1__label": (), "g2__image": (4, 4), "g2__label": ()}, [("groups", None, 2)], []),
        ({"cat__a": (3, 3), "dog__b": (3, 3), "dog__c": (3, 3)}, [("datasets", None, 1), ("datasets", None, 2)], []),
        ({"cat__1": (3, 3), "dog__1": (3, 3)}, [("datasets", None, 1), ("datasets", None, 1)], []),
        ({"0001": (3, 3), "0002": (3, 4)}, [("datasets", None, 2)], []),
        ({"a_jpg": (900,), "b_jpg": (800,)}, [("datasets", None, 2)], []),
        ({"image": (5, 3, 3), "extra__x": (5,)}, [("table", None, 5)], ["extra/x"]),
    ],
)  # fmt: skip
def test_samples_are_rows_groups_or_datasets(shapes, parts, left):
    assert layout_of(**shapes) == (parts, left)


def test_nothing_to_pack_is_an_error():
    with pytest.raises(SourceError, match="no dataset has rows"):
        find_layout([], lambda _: False)


def test_many_datasets_are_several_units():
    stored = [Stored(f"{i:05d}", (2, 2), "number", 4, 1) for i in range(5000)]
    first, second = find_layout(stored, lambda _: False).parts
    assert (first.first, first.num_rows, second.first, second.num_rows) == ("00000", 4096, "04096", 904)
