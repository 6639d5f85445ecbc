"""Reading a table changes no values; bad records are named by file and line."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.source import Problems
from shardpack.sources.table_formats import csv_records, head, jsonl_records, parquet_records, records_of, table_text
from tests.strategies import examples

cells = st.sampled_from(["", "0", "7", "-12", "007", "1.5", "-.5", "5.", "1e3", "1e999", "nan", "+1", " 1", "9" * 19])
cells |= st.integers().map(str) | st.floats().map(repr) | st.text(st.characters(codec="utf-8", exclude_characters="\0"))
columns = st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff"), max_size=3)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("table")


def text_of(folder, name, **options):
    """Return the text of a table in a folder."""
    return replace(table_text(name, (folder / name).read_bytes()), **options)


def found_in(folder, name, content):
    """Return the records of one table, as (line, values), and what was rejected."""
    (folder / name).write_bytes(content)
    problems = Problems()
    if name.endswith(".csv"):
        found = csv_records([text_of(folder, name)], problems)
    else:
        found = jsonl_records(text_of(folder, name), problems)
    return [(line, values) for _, line, values in found], problems.rejected


@examples(60)
@given(st.lists(columns, unique=True, max_size=3), st.data())
def test_csv_cells_become_values_that_lose_nothing(shared, names, data):
    rows = data.draw(st.lists(st.lists(cells, min_size=len(names), max_size=len(names)), max_size=4))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow([*names, "file_name"])
    writer.writerows([*row, f"{number}.jpg"] for number, row in enumerate(rows))
    (shared / "metadata.csv").write_bytes(buffer.getvalue().encode())
    problems = Problems()
    records = [values for _, _, values in csv_records([text_of(shared, "metadata.csv")], problems)]
    assert not problems.rejected
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


def test_a_column_has_one_type_over_all_tables(tmp_path):
    (tmp_path / "a.csv").write_text("file_name,label\na.jpg,1\n")
    (tmp_path / "b.csv").write_text("label,file_name,more\n2.5,b.jpg,x\n")
    found = list(csv_records([text_of(tmp_path, "a.csv"), text_of(tmp_path, "b.csv")], Problems()))
    assert found == [
        ("a.csv", 2, {"file_name": "a.jpg", "label": 1.0}),
        ("b.csv", 2, {"label": 2.5, "file_name": "b.jpg", "more": "x"}),
    ]
    assert type(found[0][2]["label"]) is float


def test_lines_of_csv_are_those_of_an_editor(shared):
    content = b'\xef\xbb\xbffile_name,text\r\n\r\na.jpg,"two\r\nlines"\r\nb.jpg\r\nc.jpg,"say ""hi"""\r\n'
    records, rejected = found_in(shared, "metadata.csv", content)
    assert records == [
        (3, {"file_name": "a.jpg", "text": "two\r\nlines"}),
        (6, {"file_name": "c.jpg", "text": 'say "hi"'}),
    ]
    assert rejected == [("metadata.csv:5", "malformed CSV: expected 2 cells, got 1; correct the line")]


objects = st.dictionaries(
    st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=3
)
others = st.sampled_from(["", "  ", "{", "[]", "3", "null", '{"a": NaN}', "{} {}"])


@examples(60)
@given(st.lists(objects | others, max_size=6), st.booleans())
def test_each_line_of_jsonl_is_a_record_or_rejected_or_blank(shared, lines, mark):
    first = {"file_name": "0.jpg"}
    texts = [line if isinstance(line, str) else json.dumps(line) for line in [first, *lines]]
    content = ("\ufeff" if mark else "") + "\n".join(texts)
    records, rejected = found_in(shared, "metadata.jsonl", content.encode())
    expected = [(number, line) for number, line in enumerate([first, *lines], 1) if isinstance(line, dict)]
    assert records == expected
    bad = [number for number, line in enumerate(lines, 2) if isinstance(line, str) and line.strip()]
    assert [name for name, _ in rejected] == [f"metadata.jsonl:{number}" for number in bad]


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("a.csv", b"", "a.csv is empty; expected a header line"),
        ("a.csv", b"path,label\n", "no column 'file_name': found 'path', 'label'; name the one"),
        ("a.csv", b"file_name,x,x\n", "two columns 'x'; rename one"),
        ("a.csv", b'file_name\na.jpg\n"b.jpg\n', "a.csv:3: malformed CSV"),
        ("a.csv", b"file_name\na.jpg\n\xff\n", "a.csv:3: not UTF-8"),
        ("a.jsonl", b" \n", "a.jsonl is empty; expected lines like"),
        ("a.jsonl", b'{"path": 1}\n', "no column 'file_name': found 'path'"),
    ],
)
def test_bad_tables_are_errors(shared, name, content, text):
    with pytest.raises(SourceError, match=text):
        found_in(shared, name, content)


def test_rows_of_parquet_with_nan_at_any_depth(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"file_name": "a.jpg", "x": 0.5, "box": [1.0, math.nan], "of": {"y": math.nan, "z": -math.inf}},
        {"file_name": "b.jpg", "x": math.nan, "box": None, "of": {"y": 1.5, "z": 0.0}},
    ]
    parquet.write_table(pa.Table.from_pylist(rows * 3), tmp_path / "a.parquet", row_group_size=2)
    found = list(parquet_records(text_of(tmp_path, "a.parquet")))
    assert [line for _, line, _ in found] == [1, 2, 3, 4, 5, 6]
    assert found[0][2] == {"file_name": "a.jpg", "x": 0.5, "box": [1.0, None], "of": {"y": None, "z": -math.inf}}
    assert found[5][2] == {"file_name": "b.jpg", "x": None, "box": None, "of": {"y": 1.5, "z": 0.0}}


def test_parquet_without_file_names_or_that_is_none(tmp_path):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pa.table({"path": ["a.jpg"]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no column 'file_name': found 'path'"):
        list(parquet_records(text_of(tmp_path, "a.parquet")))
    (tmp_path / "b.parquet").write_bytes(b"no Parquet")
    with pytest.raises(SourceError, match=r"cannot read b\.parquet: .*; write it again, or use metadata\.jsonl"):
        list(parquet_records(text_of(tmp_path, "b.parquet")))


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


def test_a_table_without_names_of_columns(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a.jpg 3\nb.jpg  4\n")
    table = text_of(tmp_path, "a.txt", header=False, key="0")
    assert head(table, 9) == (["0", "1"], [["a.jpg", "3"], ["b.jpg", "4"]])
    found = list(records_of([table], Problems()))
    assert found == [("a.txt", 1, {"0": "a.jpg", "1": 3}), ("a.txt", 2, {"0": "b.jpg", "1": 4})]


def test_the_head_of_a_long_table_is_whole_lines():
    lines = b"".join(b"%07d,%s\n" % (number, b"x" * 100) for number in range(20_000))
    columns, rows = head(table_text("a.csv", b"name,text\n" + lines), 10**6)
    assert columns == ["name", "text"]
    assert 9000 < len(rows) < 20_000
    assert all(row == [f"{number:07}", "x" * 100] for number, row in enumerate(rows))


def test_the_columns_of_a_table_without_looking_at_rows():
    for kind, data in (("jsonl", b'{"a": 1, "b": 2}\n'), ("csv", b"a,b\n1,2\n")):
        assert head(table_text(f"x.{kind}", data), 0) == (["a", "b"], [])
