"""Energon's SQLite: the rows and indexes of its own tool."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import shardpack
from shardpack.errors import DuplicateKeyError, InvalidKeyError
from tests.export.indexes.samples import exported
from tests.export.indexes.test_index_source import write_tar

INDEXES = {"idx_samples_by_tar_and_idx", "idx_sample_parts_seq", "idx_sample_parts_full", "sqlite_autoindex_samples_1"}


def query(folder, statement, *values):
    with closing(sqlite3.connect(folder / ".nv-meta" / "index.sqlite")) as database:
        return database.execute(statement, values).fetchall()


def rows(folder, table):
    return [list(row) for row in query(folder, f"SELECT * FROM {table}")]


def test_the_rows_of_its_own_tool(ds, golden, tmp_path):
    exported(ds, tmp_path, "energon")
    assert {table: rows(tmp_path, table) for table in ("samples", "sample_parts")} == golden["energon"]["rows"]
    assert {name for (name,) in query(tmp_path, "SELECT name FROM sqlite_master WHERE type = 'index'")} == INDEXES
    assert query(tmp_path, "PRAGMA integrity_check") == [("ok",)]


def test_a_part_is_found_by_key(ds, tmp_path):
    exported(ds, tmp_path, "energon")
    statement = (
        "SELECT content_byte_offset, content_byte_size FROM samples JOIN sample_parts "
        "USING (tar_file_id, sample_index) WHERE sample_key = ? AND part_name = ?"
    )
    ((offset, size),) = query(tmp_path, statement, "dog/deep/0005", "jpg")
    where = ds.locate("dog/deep/0005").fields["jpg"]
    assert (offset, size) == (where.offset, where.size)


def test_keys_that_repeat_are_refused(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.jpg": b"1", "b.jpg": b"2", "a.json": b"{}"})
    shardpack.index(tmp_path, on_duplicate="keep")
    with pytest.raises(DuplicateKeyError, match="names two samples, which Energon refuses"):
        exported(shardpack.open(tmp_path), tmp_path / "out", "energon")


def test_parts_of_tars_of_others_keep_their_case(tmp_path):
    write_tar(tmp_path / "x.tar", {"a.JPG": b"1"})
    shardpack.index(tmp_path)
    exported(shardpack.open(tmp_path), tmp_path / "out", "energon")
    assert rows(tmp_path / "out", "sample_parts") == [[0, 0, "JPG", 512, 1]]


@pytest.mark.parametrize("name", ["a\udcff.jpg", "a.j\udcff"])
def test_names_that_are_not_utf_8_are_refused(tmp_path, name):
    write_tar(tmp_path / "x.tar", {"a.txt": b"1", name: b"2"})
    shardpack.index(tmp_path)
    with pytest.raises(InvalidKeyError, match="a name in this shard is not UTF-8") as refused:
        exported(shardpack.open(tmp_path), tmp_path / "out", "energon")
    assert (refused.value.shard, refused.value.key) == ("x.tar", name)
