"""ratarmount's index: the rows that it writes itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import shardpack
from shardpack.errors import OptionError
from tests.export.indexes.samples import exported
from tests.export.indexes.test_index_source import write_tar


def rows(path, table):
    with closing(sqlite3.connect(path)) as database:
        found = database.execute(f"SELECT * FROM {table}").fetchall()
    return [[f"x{value.hex()}" if isinstance(value, bytes) else value for value in row] for row in found]


def test_the_rows_of_its_own(ds, golden, tmp_path):
    exported(ds, tmp_path, "ratarmount")
    for tar, expected in golden["ratarmount"].items():
        path = tmp_path / f"{tar}.index.sqlite"
        for table in ("files", "xattrkeys", "xattrsdata", "xattrs"):
            assert rows(path, table) == expected[table]
        assert [row for row in rows(path, "metadata") if row[0] != "tarstats"] == expected["metadata"]
        assert rows(path, "versions") == expected["versions"]


def test_tars_of_others_are_left_to_it(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.jpg": b"1"})
    shardpack.index(tmp_path)
    with pytest.raises(OptionError, match="let ratarmount index them"):
        exported(shardpack.open(tmp_path), tmp_path / "out", "ratarmount")
