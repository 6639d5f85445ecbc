"""Columns get their roles by their names and by a few rows."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.importer import FormatOptions

JPEG, PNG = b"\xff\xd8\xff\xe0 one", b"\x89PNG\r\n\x1a\n two"


def test_keys_are_chosen_only_where_they_are_safe_and_different():
    unique = [{"id": 1, "image": JPEG}, {"id": 2, "image": JPEG}]
    assert choose_mapping(unique, FormatOptions()).key_column == "id"
    assert choose_mapping([{"id": 1}, {"id": 1}], FormatOptions()).key_column is None
    twice = [{"id": 1}, {"id": 2}, {"id": 1}]
    assert choose_mapping(twice, FormatOptions(), splits=["train", "train", "val"]).key_column == "id"
    assert choose_mapping(twice, FormatOptions(), splits=["train", "val", "train"]).key_column is None
    assert choose_mapping([{"id": "a b"}, {"id": "c"}], FormatOptions()).key_column is None
    assert choose_mapping(unique, FormatOptions(key_column=":row")).key_column is None
    with pytest.raises(OptionError, match="key_column is 'name'; the columns are id, image"):
        choose_mapping(unique, FormatOptions(key_column="name"))


def test_the_sentence_names_columns():
    rows = [{"image/encoded": JPEG, "image/class/label": [3], "image/width": [4]}]
    assert (
        describe_mapping(choose_mapping(rows, FormatOptions()), rows)
        == "jpg (image/encoded) + json (2 columns; label: image/class/label); key: row number"
    )


def test_the_main_column_is_an_image_and_no_mask():
    rows = [{"mask": JPEG, "sound": b"ID3", "photo": JPEG}]
    assert choose_mapping(rows, FormatOptions()).main == "photo"
    assert choose_mapping([{"mask": JPEG}], FormatOptions()).main is None


def test_a_label_column_of_texts():
    assert choose_mapping([{"label": [b"cat"]}], FormatOptions()).text_label
    assert not choose_mapping([{"label": [b"cat"]}], FormatOptions(), unwrap=False).text_label
    assert not choose_mapping([{"label": JPEG}], FormatOptions()).text_label


@pytest.mark.parametrize(
    ("columns", "fields"),
    [
        (("0", "1"), {"0.jpg", "1.jpg"}),
        (("depth", "rgb"), {"depth.jpg", "rgb.jpg"}),
        (("image", "rgb"), {"jpg", "rgb.jpg"}),
        (("jpg",), {"jpg"}),
    ],
)
def test_images_of_exports_keep_the_names_of_their_fields(columns, fields):
    row = {"__key__": "a", **dict.fromkeys(columns, JPEG)}
    assert choose_mapping([row], FormatOptions()).fields(row).keys() == fields


def test_a_field_that_is_called_as_its_bytes_are_has_one_name():
    row = {"__key__": "a", "jpg": JPEG, "png": PNG, "npy": b"\x93NUMPY"}
    assert choose_mapping([row], FormatOptions()).fields(row).keys() == {"jpg", "png", "npy"}
