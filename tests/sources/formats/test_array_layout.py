"""What arrays mean: by their names and shapes alone."""

from __future__ import annotations

import pytest

from shardpack.sources.formats.array_layout import Along, along_first_axis, column_of, is_a_sample_each


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"images": (9, 8, 8, 3), "labels": (9,)}, [Along(None, 9, (("image", "images"), ("label", "labels")))]),
        ({"images": (9, 8, 8), "labels": (9, 1)}, [Along(None, 9, (("image", "images"), ("label", "labels")))]),
        (
            {"x_train": (9, 8, 8), "y_train": (9,), "x_test": (3, 8, 8), "y_test": (3,)},
            [
                Along("train", 9, (("image", "x_train"), ("label", "y_train"))),
                Along("test", 3, (("image", "x_test"), ("label", "y_test"))),
            ],
        ),
        ({"train_images": (9, 8, 8, 1)}, [Along("train", 9, (("image", "train_images"),))]),
        ({"": (9, 28, 28)}, [Along(None, 9, (("image", ""),))]),
        (
            {"images": (5, 8, 8, 3), "labels": (5,), "test_score": (5,)},
            [Along(None, 5, (("image", "images"), ("label", "labels"), ("test_score", "test_score")))],
        ),
        (
            {"x": (5, 8, 8, 3), "image": (5, 8, 8, 3), "label": (5,), "y": (5,)},
            [Along(None, 5, (("x", "x"), ("image", "image"), ("label", "label"), ("y", "y")))],
        ),
        ({"": (28, 28, 3)}, []),
        ({"image": (8, 8, 3), "mask": (8, 8)}, []),
        ({"image": (8, 8, 3), "label": ()}, []),
        ({"images": (9, 8, 8, 3), "labels": (8,)}, []),
    ],
)
def test_a_common_first_axis(shapes, found):
    assert along_first_axis(shapes, is_only_file=True) == found


def test_files_of_one_volume_each_are_samples():
    assert along_first_axis({"": (9, 28, 28)}, is_only_file=False) == []


def test_many_images_are_a_sample_each():
    assert is_a_sample_each({f"a{i}": (8, 8, 3) for i in range(17)})
    assert not is_a_sample_each({f"a{i}": (8, 8, 3) for i in range(16)})
    assert not is_a_sample_each({f"a{i}": (8, 8, 9) for i in range(17)})


@pytest.mark.parametrize(("name", "column"), [("x", "image"), ("keys", "key"), ("masks", "mask"), ("bias", "bias")])
def test_names_of_columns(name, column):
    assert column_of(name) == column
