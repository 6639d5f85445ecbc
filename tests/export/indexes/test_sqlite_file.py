"""Databases that are written once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from shardpack.errors import StorageError
from shardpack.export.indexes.sqlite_file import create, new_database


def test_rows_are_there_when_it_is_closed(tmp_path):
    path = str(tmp_path / "x.sqlite")
    with new_database(path) as database:
        create(database, "CREATE TABLE a (b); CREATE TABLE c (d)")
        database.execute("INSERT INTO a VALUES (1)")
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT b FROM a").fetchall() == [(1,)]
    assert [path.name for path in tmp_path.iterdir()] == ["x.sqlite"]


def test_what_sqlite_refuses_is_an_error_with_the_path(tmp_path):
    path = str(tmp_path / "x.sqlite")
    with pytest.raises(StorageError, match=r"cannot write .*x.sqlite.*no such table"), new_database(path) as database:
        database.execute("INSERT INTO a VALUES (1)")
