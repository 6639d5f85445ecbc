"""Blanks in front of cells are values, except where a whole file is written with them."""

import pytest

import shardpack
from shardpack.sources.csv_dialect import blanks_are_no_values, column_names
from shardpack.sources.csv_table import csv_records
from shardpack.sources.source import Problems
from shardpack.sources.table_text import table_text
from tests.conftest import make_jpeg


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'file , label, note\na.jpg, cat, "one,two"\nb.jpg, ,\n', True),
        (b'"file", "a, b"\r\na.jpg, x\r\n', True),
        (b"file, label\na.jpg, cat\nb.jpg,dog\n", False),
        (b"file,label\na.jpg, cat\n", False),
        (b"file_name, label\na.jpg, cat\n", False),
        (b'"file_name", label\na.jpg, cat\n', False),
        (b"file\na, b.jpg\n", False),
        (b"", False),
    ],
)
def test_a_file_is_written_with_blanks_if_each_cell_has_one(content, expected):
    assert blanks_are_no_values(content, ",") == expected
    assert blanks_are_no_values(content.replace(b",", b"\t"), "\t") == expected


def test_names_of_columns_lose_blanks_that_tell_none_apart():
    assert column_names(["file ", " x"]) == ["file", "x"]
    assert column_names(["file", "x", " x"]) == ["file", "x", " x"]
    assert column_names(["file_name", " x"]) == ["file_name", " x"]


@pytest.mark.parametrize(
    ("name", "content", "value"),
    [
        ("a.csv", b'file_name,text\nim.jpg, "a" and b\n', ' "a" and b'),
        ("a.tsv", b'file_name\ttext\nim.jpg\t "Stop" sign\n', ' "Stop" sign'),
        ("a.csv", b"file_name,text\nim.jpg, \n", " "),
        ("a.csv", b'file_name,text\nim.jpg," 1"\n', " 1"),
    ],
)
def test_cells_that_begin_with_a_blank(name, content, value):
    assert [values["text"] for _, _, values in csv_records([table_text(name, content)], Problems())] == [value]


def test_texts_with_blanks_come_back_from_an_export(tmp_path):
    label = {"class": " a", "text": " ", "code": " 1", " lead": "two "}
    with shardpack.ShardWriter(tmp_path / "in", classes=["b", " a"]) as writer:
        writer.write("x", {"jpg": make_jpeg(), "json": {"label": 0, **dict.fromkeys(label, "-"), "class": "b"}})
        writer.write("y", {"jpg": make_jpeg(), "json": {"label": 1, **label}})
    shardpack.export(shardpack.open(tmp_path / "in"), tmp_path / "folder", to="folder", flat=True)
    shardpack.pack(tmp_path / "folder", tmp_path / "out")
    again = shardpack.open(tmp_path / "out")
    assert again.classes == ("b", " a")
    assert again[1].decode("json") == {"label": 1, **label}
