"""Reading CSV changes no values; bad lines are named by file and line."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.csv_table import csv_head, csv_records, is_number
from shardpack.sources.source import Problems
from shardpack.sources.table_text import table_text
from tests.strategies import examples

cells = st.sampled_from(["", "0", "7", "-12", "007", "1.5", "-.5", "5.", "1e3", "1e999", "nan", "+1", " 1", "9" * 19])
cells |= st.integers().map(str) | st.floats().map(repr) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
columns = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=3)


def found_in(content):
    """Return the records of one table, as (line, values), and what was rejected."""
    problems = Problems()
    found = csv_records([table_text("a.csv", content)], problems)
    return [(line, values) for _, line, values in found], problems.rejected


@examples(60)
@given(st.lists(columns, unique=True, max_size=3), st.data())
def test_csv_cells_become_values_that_lose_nothing(names, data):
    rows = data.draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=4))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([*names, "file_name"])
    writer.writerows([*row, f"{number}.jpg"] for number, row in enumerate(rows))
    found, rejected = found_in(buffer.getvalue().encode())
    records = [values for _, values in found]
    assert not rejected
    assert [values["file_name"] for values in records] == [f"{number}.jpg" for number in range(len(rows))]
    for column, name in enumerate(names):
        filled = [(row[column], record[name]) for row, record in zip(rows, records, strict=True) if row[column]]
        assert all(record[name] is None for row, record in zip(rows, records, strict=True) if not row[column])
        kinds = {type(value) for _, value in filled}
        assert len(kinds) <= 1  # one type a column
        for cell, value in filled:
            assert value == (float(cell) if kinds == {float} else int(cell) if kinds == {int} else cell)
            assert kinds != {int} or str(value) == cell
            assert abs(value) < float("inf") if kinds == {float} else True


def test_a_column_has_one_type_over_all_tables():
    first = table_text("a.csv", b"file_name,label\na.jpg,1\n")
    second = table_text("b.csv", b"label,file_name,more\n2.5,b.jpg,x\n")
    found = list(csv_records([first, second], Problems()))
    assert found == [
        ("a.csv", 2, {"file_name": "a.jpg", "label": 1.0}),
        ("b.csv", 2, {"label": 2.5, "file_name": "b.jpg", "more": "x"}),
    ]
    assert type(found[0][2]["label"]) is float


def test_lines_of_csv_are_those_of_an_editor():
    content = b'\xef\xbb\xbffile_name,text\r\n\r\na.jpg,"two\r\nlines"\r\nb.jpg\r\nc.jpg,"say ""hi"""\r\n'
    records, rejected = found_in(content)
    assert records == [
        (3, {"file_name": "a.jpg", "text": "two\r\nlines"}),
        (6, {"file_name": "c.jpg", "text": 'say "hi"'}),
    ]
    assert rejected == [("a.csv:5", "malformed CSV: expected 2 cells, got 1; correct the line")]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "a.csv is empty; expected a header line"),
        (b"path,label\n", "no column 'file_name': found 'path', 'label'; name the one"),
        (b"file_name,x,x\n", "two columns 'x'; rename one"),
        (b'file_name\na.jpg\n"b.jpg\n', "a.csv:3: malformed CSV"),
        (b"file_name\na.jpg\n\xff\n", "a.csv:3: not UTF-8"),
    ],
)
def test_bad_tables_are_errors(content, text):
    with pytest.raises(SourceError, match=text):
        found_in(content)


def test_the_head_of_a_long_table_is_whole_lines():
    lines = b"".join(b"%07d,%s\n" % (number, b"x" * 100) for number in range(20_000))
    columns, rows = csv_head(table_text("a.csv", b"name,text\n" + lines), 10**6)
    assert columns == ["name", "text"]
    assert 9000 < len(rows) < 20_000
    assert all(row == [f"{number:07}", "x" * 100] for number, row in enumerate(rows))


def test_the_columns_of_a_table_without_names_are_those_of_its_longest_line():
    table = replace(table_text("a.csv", b"1,2\n3,4,5\n6\n"), columns=())
    assert csv_head(table, 2) == (["0", "1", "2"], [["1", "2"], ["3", "4", "5"]])


@pytest.mark.parametrize(("cell", "expected"), [("1", True), ("-.5", True), ("007", False), ("x", False), (2, True)])
def test_numbers(cell, expected):
    assert is_number(cell) is expected
