"""Tables of all kinds are looked at in one way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.sources.source import Problems
from shardpack.sources.table_formats import distinct_values, head, num_rows, records_of
from shardpack.sources.table_text import table_text


@pytest.mark.parametrize(
    ("name", "content", "columns", "rows"),
    [
        ("a.csv", b"\xef\xbb\xbfx,y\r\n\r\n1,2\r\n3\r\n", ["x", "y"], [["1", "2"], ["3"]]),
        ("a.csv", b"x,y\n1,\xff\n", ["x", "y"], [["1", "\ufffd"]]),
        ("a.txt", b"x  y\n1 2\n", ["x", "y"], [["1", "2"]]),
        ("a.csv", b"", [], []),
        ("a.jsonl", b'{"x": 1}\nnot JSON\n\n[1]\n{"y": [2], "x": null}', ["x", "y"], [[1, None], [None, [2]]]),
        ("a.jsonl", b"", [], []),
        ("a.parquet", b"not Parquet", [], []),
    ],
)
def test_the_head_of_a_table(name, content, columns, rows):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    assert head(table_text(name, content), 9) == (columns, rows)
    assert len(head(table_text(name, content), 1)[1]) == min(1, len(rows))


def test_a_table_without_names_of_columns():
    table = replace(table_text("a.txt", b"a.jpg 3\nb.jpg  4\n"), columns=(), key="0")
    assert head(table, 9) == (["0", "1"], [["a.jpg", "3"], ["b.jpg", "4"]])
    found = list(records_of([table], Problems()))
    assert found == [("a.txt", 1, {"0": "a.jpg", "1": 3}), ("a.txt", 2, {"0": "b.jpg", "1": 4})]


def test_the_columns_of_a_table_without_looking_at_rows():
    for kind, data in (("jsonl", b'{"a": 1, "b": 2}\n'), ("csv", b"a,b\n1,2\n")):
        assert head(table_text(f"x.{kind}", data), 0) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b"x,Y\n1,b\n2,\n1,b\n"), ("a.jsonl", b'{"x": 1, "Y": "b"}\n{"Y": ""}\n{"Y": "b"}')]
)
def test_different_values_of_a_column(name, content):
    table = table_text(name, content)
    assert distinct_values(table, "y") == {"Y": ["b"]}
    assert num_rows(table) == 3
