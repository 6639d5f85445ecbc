"""What types of Arrow become."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.arrow_columns import ArrowColumn, batch_rows, columns_of, converter

PAIRS = pa.map_(pa.string(), pa.date32())


def values_of(array, *, metadata=None):
    schema = pa.schema([pa.field("x", array.type, metadata=metadata)])
    batch = pa.record_batch([array], schema=schema)
    return [row["x"] for row in batch_rows(batch, columns_of(schema), label_column=None)]


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([timedelta(seconds=1.5), None]), [1.5, None]),
        (pa.array([[("a", 0), ("b", None)]], PAIRS), [{"a": "1970-01-01", "b": None}]),
        (pa.array([[("a", 0), ("a", 1)]], PAIRS), [[["a", "1970-01-01"], ["a", "1970-01-02"]]]),
        (pa.array([[(1, 2.0)]], pa.map_(pa.int8(), pa.float32())), [[[1, 2.0]]]),
        (pa.array([[0, None], None], pa.list_(pa.time32("s"))), [["00:00:00", None], None]),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float16(), 2)), [[1.0, 2.0]]),
        (pa.array([None, None]), [None, None]),
        (pa.array([b"abc"], pa.binary(3)), [b"abc"]),
        (pa.array([[b"a", b"b"]], pa.list_(pa.binary())), [[b"a", b"b"]]),
    ],
)
def test_values(array, values):
    assert values_of(array) == values


def test_files_without_bytes_and_path_are_no_values():
    files = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    array = pa.array([None, {"bytes": None, "path": None}, {"bytes": b"", "path": None}], files)
    assert values_of(array) == [None, None, {"bytes": b"", "path": None}]


def test_arrays_have_the_shape_that_hugging_face_notes():
    nested = pa.array([[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]], None], pa.list_(pa.list_(pa.uint8())))
    noted = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": '[[null, 3], "uint8"]',
    }
    one, two, none = values_of(nested, metadata=noted)
    assert (one.tolist(), two.tolist(), none) == ([[1, 2, 3]], [[1, 2, 3], [4, 5, 6]], None)
    assert two.dtype == np.uint8
    with pytest.raises(SourceError, match=r"an array of 2 numbers does not have the shape \[None, 3\]"):
        values_of(pa.array([[[1, 2]]], nested.type), metadata=noted)


@pytest.mark.parametrize("shape", ['[[2], "uint8"]', '["two"]', "null", "{", '[[1, 2, 3, 4], "x"]'])
def test_a_shape_that_does_not_fit_the_type_is_left(shape):
    noted = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": shape,
    }
    assert values_of(pa.array([[[1], [2]]]), metadata=noted) == [[[1], [2]]]


def test_class_numbers_beside_the_label_carry_their_names():
    features = {"fine": {"_type": "ClassLabel", "names": ["a", "b"]}}
    schema = pa.schema([("fine", pa.int8())], metadata={"huggingface": json.dumps({"info": {"features": features}})})
    (column,) = columns_of(schema)
    assert column == ArrowColumn("fine", class_names=("a", "b"))
    batch = pa.record_batch([pa.array([1, -1, None, 7], pa.int8())], schema=schema)
    beside = [row["fine"] for row in batch_rows(batch, [column], label_column="coarse")]
    assert beside == [{"label": 1, "class": "b"}, -1, None, 7]
    assert [row["fine"] for row in batch_rows(batch, [column], label_column="fine")] == [1, -1, None, 7]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"info": 3}', '{"info": {"features": []}}'])
def test_notes_that_are_none_are_left(text):
    schema = pa.schema([("label", pa.int8())], metadata={"huggingface": text})
    assert columns_of(schema) == (ArrowColumn("label"),)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(SourceError, match="two columns are called 'a'"):
        columns_of(pa.schema([("a", pa.int8()), ("a", pa.int8())]))


@pytest.mark.parametrize(
    "type_",
    [
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.struct([("a", pa.binary())]),
        pa.run_end_encoded(pa.int16(), pa.int8()),
    ],
)
def test_other_types_are_refused_by_name(type_):
    with pytest.raises(SourceError, match="column 'odd' holds"):
        converter(type_, column="odd")
