"""Rows say what labels and images say, whatever shape the labels have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import DecodeError
from shardpack.format.splits import Splits
from shardpack.table.heads import Facts
from shardpack.table.rows import Naming, conform, make_rows, split_column
from shardpack.table.schema import MAX_LABELS, OWN, column_name, merge_types, plain_values
from tests.strategies import examples
from tests.table.datasets import labelled, one_table, positions, rows_of, values
from tests.table.test_schema import TEXTS, VALUES, without_nulls


def rows_of_labels(labels, naming=None, field="json"):
    facts = [Facts(f"{n:03d}".encode(), {field: json.dumps(label).encode()}) for n, label in enumerate(labels)]
    return make_rows(facts, np.arange(len(labels)), naming or Naming())


def label_columns(rows):
    return {
        name: plain_values(rows.table[name], rows.types[name]) for name in rows.types if name in rows.table.column_names
    }


def test_a_row_of_a_dataset(tmp_path):
    folder = labelled(tmp_path / "ds", [{"class": "hat", "label": 3, "score": 0.5, "tags": ["a", "b"]}])
    (rows,) = rows_of(folder)
    size = len(shardpack.open(folder)[0]["jpg"])
    own = {"key": "000", "position": 0, "class": "hat", "width": 20, "height": 12, "mode": "RGB", "format": "JPEG"}
    assert values(rows.table) == [{**own, "bytes": size, "label": 3, "score": 0.5, "tags": ["a", "b"]}]
    assert rows.table.column_names == [*OWN, "label", "score", "tags"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ({"class": "hat"}, "hat"),
        ({"label": 1}, "dog"),
        ({"label": 2}, None),
        ({"label": -1}, None),
        ({"label": True}, None),
        ({"class": 1, "label": 0}, "cat"),
        ({"class": None}, None),
        ({}, None),
        (1, None),
        ({"class": "\ud800"}, "\\ud800"),
    ],
)
def test_class_of_a_sample(label, name):
    assert rows_of_labels([label], Naming(("cat", "dog"))).table["class"].to_pylist() == [name]


def test_number_of_a_class_alone():
    facts = [
        Facts(b"a", {"cls": b"1"}),
        Facts(b"b", {"cls": b"0", "json": b'{"label": 1}'}),
        Facts(b"c", {"cls": b"7"}),
    ]
    table = make_rows(facts, positions(0, 1, 2), Naming(("cat", "dog"))).table
    assert table["class"].to_pylist() == ["dog", "dog", None]
    assert table["label"].to_pylist() == [1, 1, 7]


def test_classes_that_are_no_texts_are_labels():
    table = rows_of_labels([{"class": 3}, {"class": "hat"}]).table
    assert (table["class"].to_pylist(), table["json_class"].to_pylist()) == ([None, "hat"], [3, None])


def test_labels_that_are_no_objects_and_fields_of_their_own():
    facts = [
        Facts(b"a", {"json": b"3", "meta.json": b'{"width": 7}'}),
        Facts(b"b", {"json": b'{"meta": 1}', "meta.json": b"[1, 2]"}),
    ]
    rows = make_rows(facts, positions(0, 1), Naming())
    assert label_columns(rows) == {
        "json": [3, None], "meta.json.width": [7, None], "meta": [None, 1], "meta.json": [None, [1, 2]],
    }  # fmt: skip


def test_compressed_labels(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds", compress={"json": "zstd:3"}) as writer:
        writer.write("a", {"json": {"score": 0.5}})
    (rows,) = rows_of(tmp_path / "ds")
    assert label_columns(rows) == {"score": [0.5]}


@pytest.mark.parametrize("payload", [b"{", b"\xff", b"NaN", b"", b"[" * 100_000])
def test_labels_that_do_not_parse_name_the_sample(payload):
    with pytest.raises(DecodeError, match=r"field 'json'.*key='a'"):
        make_rows([Facts(b"a", {"json": payload})], positions(0), Naming())


def test_keys_that_are_not_utf8():
    assert make_rows([Facts(b"a\xff")], positions(0), Naming()).table["key"].to_pylist() == ["a\\xff"]


def test_splits_of_rows():
    splits = Splits.of_runs([("train", 2), (None, 1), ("val", 1)])
    assert split_column(positions(0, 1, 2, 3), splits).to_pylist() == ["train", "train", None, "val"]
    assert split_column(positions(0, 1), None).to_pylist() == [None, None]


LABELS = st.lists(
    VALUES | st.dictionaries(TEXTS | st.sampled_from(["class", "width", "a", "b"]), VALUES, max_size=5), max_size=6
)


def model(labels):
    """Return the columns that labels should become, as lists with None where a row has no value."""
    columns = {}
    for row, label in enumerate(labels):
        named = label if isinstance(label, dict) else None
        own = {"json": label} if named is None else {
            column_name("json", name): value
            for name, value in named.items()
            if name != "class" or not isinstance(value, str)
        }  # fmt: skip
        for name, value in own.items():
            columns.setdefault(name, [None] * len(labels))[row] = without_nulls(value)
    return columns


@examples(200)
@given(LABELS)
def test_columns_are_what_labels_say(labels):
    assert {
        name: list(map(without_nulls, one)) for name, one in label_columns(rows_of_labels(labels)).items()
    } == model(labels)


@examples(200)
@given(LABELS, st.integers(1, 5))
def test_it_does_not_matter_how_many_rows_are_made_at_once(labels, step):
    whole = rows_of_labels(labels)
    parts = [rows_of_labels(labels[at : at + step]) for at in range(0, len(labels), step)]
    if parts:
        table, types = one_table(parts)
        assert types == whole.types
        assert list(types) == list(whole.types)
        assert table.drop_columns(list(OWN)).equals(conform(whole, types).drop_columns(list(OWN)))


def test_names_beyond_the_first_are_in_more():
    labels = [{f"n{name}": row for name in range(row, MAX_LABELS + row)} for row in range(4)]
    parts = [rows_of_labels([label]) for label in labels]
    for found in (rows_of_labels(labels), *parts):
        assert len(found.table.column_names) <= len(OWN) + MAX_LABELS + 1
    table, types = one_table(parts)
    assert list(types) == [f"n{name}" for name in range(MAX_LABELS)]
    assert [json.loads(text or "{}") for text in table["more"].to_pylist()] == [
        {f"n{name}": row for name in range(MAX_LABELS, MAX_LABELS + row)} for row in range(4)
    ]
    whole = conform(rows_of_labels(labels), types)
    assert whole.drop_columns(list(OWN)).equals(table.drop_columns(list(OWN)))


def test_names_come_out_of_more_and_go_into_it():
    rows = rows_of_labels([{f"n{name}": name for name in range(MAX_LABELS + 2)}, {"n501": 7}])
    types = merge_types({"n501": rows.types["n501"]}, rows.types)
    table = conform(rows, types)
    assert table["n501"].to_pylist() == [501, 7]
    assert json.loads(table["more"][0].as_py()) == {"n499": 499, "n500": 500}
    assert table["more"][1].as_py() is None


def test_very_many_names_take_no_column_each():
    rows = rows_of_labels([{f"a{number}": number} for number in range(3000)])
    assert len(rows.table.column_names) == len(OWN) + MAX_LABELS + 1
    assert json.loads(rows.table["more"][2999].as_py()) == {"a2999": 2999}
