"""How columns become fields, in every format alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.encode import encode_field
from shardpack.errors import SourceError
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import RowMapping, field_name

JPEG, PNG = b"\xff\xd8\xff\xe0 one", b"\x89PNG\r\n\x1a\n two"


@pytest.mark.parametrize(
    ("column", "field"), [("Depth Map", "depth_map"), ("image/mask", "image_mask"), ("ä", "column")]
)
def test_names_of_columns_become_safe_names_of_fields(column, field):
    assert field_name(column) == field


def test_a_row_becomes_payloads_and_one_json():
    mapping = RowMapping(main="image", key_column="id", label_column="label", classes=("cat", "dog"))
    row = {
        "image": JPEG,
        "mask": PNG,
        "id": "a",
        "label": [1],
        "boxes": [[1.5, math.nan], [2, 3]],
        "raw": b"\xfe\0",
        "text": b"hi",
    }
    assert mapping.key(row, "7") == "a"
    assert mapping.fields(row) == {
        "jpg": JPEG,
        "mask.png": PNG,
        "raw.bin": b"\xfe\0",
        "json": {"label": 1, "class": "dog", "boxes": [[1.5, None], [2, 3]], "text": "hi"},
    }


def test_lists_of_images_are_numbered():
    row = {"image": [JPEG, PNG], "views": [{"bytes": PNG, "path": None}, {"bytes": JPEG, "path": "x"}]}
    assert RowMapping(main="image").fields(row) == {
        "0.jpg": JPEG,
        "1.png": PNG,
        "views.0.png": PNG,
        "views.1.jpg": JPEG,
    }


def test_an_image_with_its_path_gives_payload_and_key():
    rows = [{"image": {"bytes": JPEG, "path": "cat/1.jpg"}}, {"image": {"bytes": JPEG, "path": "cat/2.jpg"}}]
    mapping = choose_mapping(rows, FormatOptions())
    assert mapping.key(rows[0], "0") == "cat/1"
    assert mapping.fields(rows[0]) == {"jpg": JPEG}
    assert describe_mapping(mapping, rows) == "jpg (image); key: image"


def test_arrays_are_npy_and_vectors_json():
    array = np.zeros((2, 2), np.uint8)
    fields = RowMapping(main="x").fields({"x": array, "vector": np.arange(3)})
    assert fields["npy"] is array
    assert fields["json"] == {"vector": [0, 1, 2]}


def test_labels_below_zero_mean_no_class():
    mapping = RowMapping(label_column="label", classes=("cat",))
    assert mapping.fields({"label": -1}) == {"json": {"label": -1}}
    with pytest.raises(SourceError, match="label 1 in column 'label' has no name"):
        mapping.fields({"label": 1})


def test_a_text_that_is_not_a_class_is_refused():
    with pytest.raises(SourceError, match="label 'dog' in column 'label' is in none of 1 classes"):
        RowMapping(label_column="label", classes=("cat",)).fields({"label": b"dog"})


def test_class_names_become_labels_where_the_list_is_known():
    known = RowMapping(label_column="class", classes=("cat", "dog"))
    assert known.fields({"class": "dog"}) == {"json": {"label": 1, "class": "dog"}}
    assert RowMapping(label_column="class").fields({"class": "dog"}) == {"json": {"class": "dog"}}


@pytest.mark.parametrize("columns", [("label", "class"), ("class", "label")])
def test_a_column_called_as_the_class_is_keeps_its_value(columns):
    rows = [{column: {"label": 1, "class": "a text"}[column] for column in columns}]
    mapping = choose_mapping(rows, FormatOptions(), classes=("cat", "dog"))
    assert mapping.fields(rows[0]) == {"json": {"label": 1, "class": "dog", "class_column": "a text"}}
    assert "json (2 columns; label: label; class as class_column where it differs)" in describe_mapping(mapping, rows)
    unnamed = choose_mapping(rows, FormatOptions())
    assert unnamed.fields(rows[0]) == {"json": {"label": 1, "class": "a text"}}


@pytest.mark.parametrize("columns", [("label_text", "label"), ("label", "label_text")])
def test_a_column_called_as_the_label_is_keeps_its_value(columns):
    rows = [{column: {"label": 7, "label_text": "zebra"}[column] for column in columns}]
    mapping = choose_mapping(rows, FormatOptions(label_column="label_text"), classes=("ant", "zebra"))
    assert mapping.fields(rows[0]) == {"json": {"label": 1, "class": "zebra", "label_column": 7}}
    assert mapping.fields({"label": 7, "label_text": None}) == {"json": {"label_column": 7}}
    unnamed = choose_mapping(rows, FormatOptions(label_column="label_text"))
    assert unnamed.fields(rows[0]) == {"json": {"label": 7, "class": "zebra"}}


def test_columns_that_would_share_a_place_in_json_are_refused():
    mapping = RowMapping(label_column="y", classes=("cat",))
    with pytest.raises(SourceError, match="two columns would be 'label_column' in json"):
        mapping.fields({"y": 0, "label": 7, "label_column": 8})


def test_two_columns_that_would_be_one_field_are_refused():
    with pytest.raises(SourceError, match=r"two columns would be field 'a_b\.jpg'"):
        RowMapping().fields({"a b": JPEG, "a/b": JPEG})


def test_a_bad_key_names_the_column():
    with pytest.raises(SourceError, match=r"key column 'id' holds \[1, 2\], expected a text or an integer"):
        RowMapping(key_column="id").key({"id": [1, 2]}, "0")


scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_infinity=False) | st.binary()
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_any_row_can_be_stored_or_is_refused(row):
    try:
        fields = RowMapping().fields(row)
    except SourceError:
        return
    for field, value in fields.items():
        assert isinstance(encode_field(field, value), bytes)


def test_lists_of_one_stay_lists_where_a_format_has_other_values():
    rows = [{"boxes": [[1, 2, 3, 4]], "images": [JPEG], "scores": [0.5]}]
    assert choose_mapping(rows, FormatOptions()).fields(rows[0])["json"] == {"boxes": [1, 2, 3, 4], "scores": 0.5}
    fields = choose_mapping(rows, FormatOptions(), unwrap=False).fields(rows[0])
    assert fields == {"0.jpg": JPEG, "json": {"boxes": [[1, 2, 3, 4]], "scores": [0.5]}}


def test_bytes_of_a_column_are_a_field_in_each_row_or_in_none():
    mapping = choose_mapping([{"blob": b"\0\xff"}, {"blob": b"text"}], FormatOptions())
    assert mapping.fields({"blob": b"text"}) == {"bin": b"text"}
    assert choose_mapping([{"blob": b"text"}], FormatOptions()).fields({"blob": b"text"}) == {"json": {"blob": "text"}}


def test_bytes_that_no_field_holds_are_refused_instead_of_lost():
    with pytest.raises(SourceError, match="2 bytes inside a list or map are neither an image nor UTF-8"):
        RowMapping().fields({"x": [{"a": b"\xfe\0"}, 1], "y": 1})


def test_a_column_that_says_what_the_label_says_is_no_value_of_its_own():
    rows = [{"label": 1, "class": "dog"}, {"class": "puppy", "label": 1}]
    mapping = choose_mapping(rows, FormatOptions(), classes=("cat", "dog"))
    assert [mapping.fields(row)["json"] for row in rows] == [
        {"label": 1, "class": "dog"},
        {"label": 1, "class": "dog", "class_column": "puppy"},
    ]


@pytest.mark.parametrize("unwrap", [True, False])
def test_texts_of_the_shape_of_labels_are_read(unwrap):
    text = '[{"bbox": [1, 2, 3, 4]}]'
    row = {"image": JPEG, "annotations": [text.encode()] if unwrap else text, "note": "[1]"}
    mapping = choose_mapping([row], FormatOptions(), unwrap=unwrap)
    assert mapping.fields(row)["json"] == {"annotations": [{"bbox": [1, 2, 3, 4]}], "note": "[1]"}
    assert "json (2 columns; annotations read as JSON)" in describe_mapping(mapping, [row])


def test_captions_stay_a_list_where_there_are_lists_alone():
    row = {"image": [JPEG], "captions": [b"a cat"], "note": [b"x"]}
    assert choose_mapping([row], FormatOptions()).fields(row)["json"] == {"captions": ["a cat"], "note": "x"}
    row = {"image": JPEG, "captions": "a cat"}
    assert choose_mapping([row], FormatOptions(), unwrap=False).fields(row)["json"] == {"captions": "a cat"}
