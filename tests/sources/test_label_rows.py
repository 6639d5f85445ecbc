"""Labels by key, from files and from code: one meaning, and what cannot be used is named with file and line."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.sources.label_rows import read_label_rows

ROWS = {"a/1": {"label": 1, "class": "cat"}, "a/2": {"label": 0, "class": None}, "b": {"label": 1, "class": "dog"}}
CSV = "key,label,class\na/1,1,cat\na/2,0,\nb,1,dog\n"
JSONL = "\n".join(json.dumps({"key": key, **label}) for key, label in ROWS.items())


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def found(labels, **options):
    return {row.key: row.value for row in read_label_rows(labels, **options)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", CSV),
        ("a.tsv", CSV.replace(",", "\t")),
        ("a.csv", "\ufeff" + CSV.replace(",", ";")),
        ("a.jsonl", JSONL),
        ("a.ndjson", "\n" + JSONL + "\n\n"),
        ("a.json", json.dumps(ROWS)),
        ("a.JSON", json.dumps([{"key": key, **label} for key, label in ROWS.items()])),
    ],
)
def test_files_of_all_kinds_mean_the_same(write, name, text):
    assert found(write(name, text)) == found(ROWS) == found(ROWS.items()) == ROWS


def test_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns = {"key": list(ROWS), **{name: [label[name] for label in ROWS.values()] for name in ("label", "class")}}
    columns["day"], columns["x"] = [date(2026, 1, 2)] * 3, [Decimal("1.50"), float("nan"), None][:1] * 3
    parquet.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == {
        key: {**label, "day": "2026-01-02", "x": "1.50"} for key, label in ROWS.items()
    }
    assert "class" not in found(tmp_path / "a.parquet", without_nulls=True)["a/2"]


def test_empty_cells_can_be_left_out_and_nulls_that_were_written_cannot(write):
    assert found(write("a.csv", CSV), without_nulls=True)["a/2"] == {"label": 0}
    assert found(write("a.jsonl", JSONL), without_nulls=True) == found(ROWS, without_nulls=True) == ROWS


def test_cells_are_typed_by_column(write):
    rows = found(write("a.csv", "key,n,x,code\n007,1,2,01\n8,-3,.5,2\n"))
    assert rows == {"007": {"n": 1, "x": 2.0, "code": "01"}, "8": {"n": -3, "x": 0.5, "code": "2"}}


def test_the_column_of_keys_can_be_named(write):
    assert found(write("a.csv", "id,label\nx,1\n"), key_column="id") == {"x": {"label": 1}}
    with pytest.raises(SourceError, match=r"a\.csv has no 'key': found 'id', 'label'; name .*--key-column"):
        read_label_rows(write("a.csv", "id,label\nx,1\n"))
    with pytest.raises(SourceError, match=r"a\.json\[0\] has no 'key': found 'id'"):
        read_label_rows(write("a.json", '[{"id": "x"}]'))


@given(st.dictionaries(st.text(min_size=1), st.recursive(st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)))  # fmt: skip
def test_any_json_value_may_be_a_label(labels):
    assert found(labels) == labels


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "key,label\nx,1\ny,2,3\n", r"1 of the rows of .*a\.csv cannot.*a\.csv:3: malformed CSV.*nothing was"),
        ("a.csv", "key,label\nx,1\ny,2\nx,3\n", r"a\.csv:4: has the key 'x', as .*a\.csv:2 has; keep one"),
        ("a.csv", "key,label\n,1\n", r"a\.csv:2: its key is None, expected a text"),
        ("a.csv", "key\nx\n", r"no column besides 'key'"),
        ("a.csv", b"key,label\nx,\xff\n", r"a\.csv:2: not UTF-8"),
        ("a.csv", "", r"a\.csv is empty"),
        ("a.jsonl", '{"key": "x"}\n{"key": 7}\n', r"a\.jsonl:2: its key is 7, expected a text"),
        ("a.jsonl", '{"key": "x"}\n{"label": 7}\n', r"a\.jsonl:2: its key is None"),
        (
            "a.jsonl",
            '{"key": "x"}\n[1]\nnope\n',
            r"2 of .*jsonl:2: expected a JSON object.*jsonl:3: not JSON",
        ),
        ("a.jsonl", '{"key": "x", "a": NaN}\n', r"a\.jsonl:1: not JSON: NaN is not a JSON number"),
        ("a.json", "3", r"a\.json holds an int; expected an object"),
        ("a.json", "{", r"a\.json: not JSON"),
        ("a.json", "[3]", r"a\.json\[0\]: expected an object, got int"),
        ("a.parquet", "nope", r"cannot read .*a\.parquet"),
        ("a.xlsx", "nope", r"cannot tell what .*a\.xlsx' is by its name; expected .*csv, json, jsonl"),
    ],
)
def test_what_cannot_be_read_is_named(write, name, text, message):
    with pytest.raises(SourceError, match=message) as caught:
        read_label_rows(write(name, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read .*gone\.csv': No such file"):
        read_label_rows(tmp_path / "gone.csv")


def test_many_problems_are_counted(write):
    with pytest.raises(SourceError, match=r"^9 of the rows.*; and 6 more; correct them"):
        read_label_rows(write("a.jsonl", '{"key": "x"}\n' * 10))


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        (7, OptionError, "labels are 7; expected a file, a dict"),
        (["ab"], OptionError, "label 0 is 'ab'; expected a pair"),
        ({1: 2}, SourceError, "label 0: its key is 1, expected a text"),
        ([("a", 1), ("a", 1)], SourceError, "label 1: has the key 'a', as label 0 has"),
        ({"a": {"x": float("nan")}}, SourceError, "label 0: JSON cannot represent"),
        ({"a": object()}, SourceError, "label 0: JSON cannot represent a value: an object"),
    ],
)
def test_what_code_passes_is_checked(labels, error, message):
    with pytest.raises(error, match=message):
        read_label_rows(labels)


def test_values_are_what_json_holds_of_them():
    assert found({"a": {"box": (1, 2), "at": date(2026, 1, 2)}}) == {"a": {"box": [1, 2], "at": "2026-01-02"}}
