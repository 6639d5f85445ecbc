"""LMDB environments, open to be read: their databases and entries. Errors of lmdb become ours, with the file's name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shardpack.errors import MissingDependencyError, ShardpackError, SourceError
from shardpack.sources.formats.found_files import FoundFiles

MAGIC, MAGIC_AT = b"\xde\xc0\xef\xbe", 16
MOST_DATABASES = 64
_RECORD_BYTES = 48  # of a named database, as the value of its name


def lmdb_module() -> Any:
    """Return the module lmdb.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import lmdb
    except ImportError as error:
        raise MissingDependencyError('LMDB needs lmdb; run pip install "shardpack[lmdb]"') from error
    return lmdb


@contextmanager
def opened(found: FoundFiles, name: str) -> Iterator[Any]:
    """Yield an environment, without a lock and for reading alone; what lmdb raises becomes a SourceError.

    Raises:
        SourceError: The file is damaged.
    """
    lmdb = lmdb_module()
    path = found.local(name)
    try:
        with lmdb.open(
            path, subdir=False, readonly=True, lock=False, create=False, max_dbs=MOST_DATABASES, max_spare_txns=1
        ) as environment:
            if environment.info()["last_pgno"] * environment.stat()["psize"] > os.path.getsize(path):
                raise SourceError(f"{name} is cut short; copy it again")
            yield environment
    except ShardpackError:
        raise
    except (lmdb.Error, OSError, ValueError, MemoryError, OverflowError) as error:
        said = " ".join(str(error).split()).rstrip(".!") or type(error).__name__
        raise SourceError(f"cannot read {name}: {said}; copy it again, or write it again") from error


def databases(environment: Any) -> list[bytes]:
    """Return the names of the databases in an environment; none if it is one itself."""
    lmdb = lmdb_module()
    names: list[bytes] = []
    with environment.begin(buffers=False) as transaction:
        for key, value in transaction.cursor():
            if len(value) != _RECORD_BYTES or len(names) == MOST_DATABASES:
                return []
            try:
                environment.open_db(key, txn=transaction, create=False)
            except lmdb.Error:
                return []
            names.append(key)
    return names


def entries(environment: Any, database: bytes | None, first: bytes | None) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the entries of a database from a key on; a value is valid until the next one is asked for."""
    opened_database = None if database is None else environment.open_db(database, create=False)
    with environment.begin(db=opened_database, buffers=True) as transaction:
        cursor = transaction.cursor()
        if first is None or cursor.set_range(first):
            for key, value in cursor:
                yield bytes(key), value


def value_of(environment: Any, database: bytes | None, key: bytes) -> bytes | None:
    """Return the value of an entry, or None."""
    opened_database = None if database is None else environment.open_db(database, create=False)
    with environment.begin(db=opened_database) as transaction:
        value: bytes | None = transaction.get(key)
        return value
