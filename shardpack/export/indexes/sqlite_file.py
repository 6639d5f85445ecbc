"""New SQLite databases that are written once, front to back: a crash loses a file that nobody reads yet."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from shardpack.errors import StorageError


@contextmanager
def new_database(path: str) -> Iterator[sqlite3.Connection]:
    """Yield an empty database in a new file, in one transaction; commit and close it at the end.

    Raises:
        StorageError: SQLite could not write the file.
    """
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for setting in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -65536"):
            database.execute(f"PRAGMA {setting}")
        database.execute("BEGIN")
        yield database
        database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise StorageError(f"cannot write {path!r}: {error}; free some space, then run the same command") from error
    finally:
        database.close()


def create(database: sqlite3.Connection, statements: str) -> None:
    """Execute statements that are separated by semicolons, in the transaction that is open."""
    for statement in statements.split(";"):
        database.execute(statement)
