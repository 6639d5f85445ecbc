"""How a table is written is told by its name and its first line."""

from __future__ import annotations

import pytest

from shardpack.sources.table_text import table_text


@pytest.mark.parametrize(
    ("name", "content", "delimiter"),
    [
        ("a.csv", b"a,b\n1,2\n", ","),
        ("a.csv", b"\n a;b\n1,2;3\n", ";"),
        ("a.csv", b"a| b\n1| 2\n", "|"),
        ("a.csv", b"a\n1\n", ","),
        ("a.tsv", b"a,x\tb\n", "\t"),
        ("a.txt", b"1.jpg 3\n", " "),
        ("a.txt", b"1.jpg,3\n", ","),
    ],
)
def test_delimiters(name, content, delimiter):
    assert table_text(name, content).delimiter == delimiter


def test_the_kind_and_the_folder_are_those_of_the_name():
    table = table_text("a/b.TSV", b"")
    assert (table.kind, table.folder, table.has_header) == ("csv", "a", True)
    assert table_text("b.ndjson", b"").kind == "jsonl"
