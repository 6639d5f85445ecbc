"""Energon's `index.sqlite`: where each sample and each of its parts is, by key and by number."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import repeat

import numpy as np

from shardpack.errors import DuplicateKeyError, InvalidKeyError
from shardpack.export.indexes.shard_members import ShardMembers
from shardpack.export.indexes.sqlite_file import create, new_database

_TABLES = """
CREATE TABLE samples (tar_file_id INTEGER NOT NULL, sample_key TEXT NOT NULL UNIQUE, sample_index INTEGER NOT NULL,
    byte_offset INTEGER, byte_size INTEGER);
CREATE TABLE sample_parts (tar_file_id INTEGER, sample_index INTEGER, part_name TEXT, content_byte_offset INTEGER,
    content_byte_size INTEGER)
"""
_INDEXES = """
CREATE INDEX idx_samples_by_tar_and_idx ON samples(tar_file_id, sample_index);
CREATE INDEX idx_sample_parts_seq ON sample_parts(tar_file_id, sample_index, content_byte_offset);
CREATE INDEX idx_sample_parts_full ON sample_parts(tar_file_id, sample_index, part_name, content_byte_offset,
    content_byte_size)
"""


def write_tables(path: str, shards: Iterable[ShardMembers]) -> None:
    """Write the database of all tars, which are numbered in the order given, to a new local file.

    Raises:
        DuplicateKeyError: A key names two samples, which Energon refuses.
        InvalidKeyError: A name is not UTF-8, which SQLite cannot hold.
    """
    with new_database(path) as database:
        create(database, _TABLES)
        for number, members in enumerate(shards):
            _insert(database, number, members)
        create(database, _INDEXES)


def _insert(database: sqlite3.Connection, number: int, members: ShardMembers) -> None:
    starts = members.sample_starts()
    numbers = range(members.num_samples)
    samples = zip(repeat(number), members.keys, numbers, starts[:-1].tolist(), np.diff(starts).tolist(), strict=False)
    parts = zip(
        repeat(number),
        members.row.tolist(),
        members.fields(),
        members.data_offset.tolist(),
        members.size.tolist(),
        strict=False,
    )
    try:
        database.executemany("INSERT INTO samples VALUES (?, ?, ?, ?, ?)", samples)
        database.executemany("INSERT INTO sample_parts VALUES (?, ?, ?, ?, ?)", parts)
    except sqlite3.IntegrityError as error:
        raise DuplicateKeyError(
            "a key of this shard names two samples, which Energon refuses; "
            'give each sample a key of its own: "shardpack pack DS OUT"',
            shard=members.shard,
        ) from error
    except UnicodeEncodeError as error:
        raise InvalidKeyError(
            "a name in this shard is not UTF-8, which Energon's SQLite cannot hold; pack the samples under other names",
            shard=members.shard,
            key=next(name for name in members.names if str(error.object) in name),
        ) from error
