"""Entries of LMDB environments."""

from __future__ import annotations

import lmdb as writer
import pytest

from shardpack.errors import SourceError
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.lmdb_file import databases, entries, opened, value_of


@pytest.fixture
def found(tmp_path):
    with writer.open(str(tmp_path), map_size=1 << 20, max_dbs=4) as environment:
        named = environment.open_db(b"train")
        with environment.begin(write=True, db=named) as transaction:
            for number in range(5):
                transaction.put(b"%d" % number, b"v%d" % number)
    return find_files(tmp_path)


def test_entries_from_a_key_on(found):
    with opened(found, "data.mdb") as environment:
        assert databases(environment) == [b"train"]
        assert [(key, bytes(value)) for key, value in entries(environment, b"train", b"3")] == [
            (b"3", b"v3"),
            (b"4", b"v4"),
        ]
        assert list(entries(environment, b"train", b"9")) == []
        assert value_of(environment, b"train", b"2") == b"v2"
        assert value_of(environment, b"train", b"9") is None


def test_a_value_as_long_as_the_record_of_a_database_is_none(tmp_path):
    with writer.open(str(tmp_path), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"x", bytes(48))
    with opened(find_files(tmp_path), "data.mdb") as environment:
        assert databases(environment) == []


def test_what_lmdb_raises_names_the_file(tmp_path):
    (tmp_path / "data.mdb").write_bytes(bytes(9000))
    with (
        pytest.raises(SourceError, match=r"cannot read data\.mdb: .*; copy it again"),
        opened(find_files(tmp_path), "data.mdb"),
    ):
        pass
