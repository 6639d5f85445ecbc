"""Which samples an expression of SQL is true for, as DuckDB computes it from Arrow columns in memory.

rows --filter--> found --`Asked.only`--> matches          all rows are asked about, if most of them count and none fails
rows --`Asked.only`--> own --filter--> matches            otherwise

The connection knows nothing else: it opens no file, reaches no network, loads no extension and sees no variable of the
program, and its settings cannot be changed. Columns that the expression does not name are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from shardpack.errors import OptionError
from shardpack.runtime.arrays import Integers
from shardpack.table.expression import check_expression, one_line, shown, where_clause
from shardpack.table.libraries import duckdb_module, pyarrow_module
from shardpack.table.read_table import LabelTable
from shardpack.table.schema import MORE, arrow_type, names_in_sql, own_types

_ROWS, _ROW = "label_table", "__stored_position__"  # what is filtered, and a column of it that is not the dataset's
CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "memory_limit": "4GiB",
    "threads": "4",  # more do not pay; they end as the connection is closed
    "lock_configuration": "true",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """The rows that an expression is asked about, and how their samples are known. Default: all rows.

    Attributes:
        only: Returns those of ascending stored positions that it is asked about.
        shown: Returns what users know stored positions as: `position` in the expression.
        are_most: Whether they are most rows, so that leaving out the others beforehand takes longer than asking about
            them: the expression may fail for these, though.
    """

    only: Callable[[Integers], Integers] = lambda stored: stored
    shown: Callable[[Integers], Integers] = lambda stored: stored
    are_most: bool = True


ALL_ROWS = Asked()


def matching(table: LabelTable, expression: str, asked: Asked = ALL_ROWS) -> Integers:
    """Return the stored positions of the rows that an expression is true for, ascending.

    Args:
        table: The open table.
        expression: As it stands behind WHERE.
        asked: The rows that count; it may fail for others. Deleted samples have rows, too.

    Raises:
        OptionError: The expression is not one, names a column that is not there, or fails for a value.
        MissingDependencyError: duckdb is not installed.
    """
    duckdb = duckdb_module()
    with duckdb.connect(":memory:", config=CONFIG) as connection:
        query = _Query(duckdb, connection, expression, names_in_sql(table.columns, but=_ROW))
        columns = query.bind(table)
        found = [np.zeros(0, np.int64)]
        for first, count, rows in table.pieces([name for name in columns if name != "position"]):
            stored = np.arange(first, first + count)
            if "position" in columns:
                rows["position"] = pyarrow_module().array(asked.shown(stored))
            found.append(_matching(query, rows, stored, asked))
    return np.concatenate(found)


def _matching(query: _Query, rows: Mapping[str, Any], stored: Integers, asked: Asked) -> Integers:
    """Return those stored positions of some rows that count, and for which an expression is true."""
    if asked.are_most:
        try:
            return asked.only(query.filter(rows, stored))
        except OptionError:
            if len(asked.only(stored)) == len(stored):
                raise
    own = asked.only(stored)
    is_own = np.zeros(len(stored), bool)
    is_own[own - stored[:1]] = True
    chosen = pyarrow_module().array(is_own)
    return query.filter({name: column.filter(chosen) for name, column in rows.items()}, own)


@dataclass(frozen=True, slots=True)
class _Query:
    duckdb: Any
    connection: Any
    expression: str
    names: Mapping[str, str]  # column -> its name in SQL

    def bind(self, table: LabelTable) -> list[str]:
        """Return the columns that the expression names; let DuckDB say what is wrong before any of them is read."""
        pa = pyarrow_module()
        named = check_expression(self.connection, self.expression)
        if named is not None and _ROW in named:
            raise self._refused(f"no column {_ROW!r}")
        types = {**own_types(), MORE: pa.string(), **{name: arrow_type(kind) for name, kind in table.types.items()}}
        self.filter({name: pa.nulls(0, types[name]) for name in table.columns}, np.zeros(0, np.int64))
        return [column for column, name in self.names.items() if named is None or name.lower() in named]

    def filter(self, columns: Mapping[str, Any], stored: Integers) -> Integers:
        """Return those stored positions of some rows for which the expression is true, ascending."""
        pa = pyarrow_module()
        rows = {self.names[name]: column for name, column in columns.items()}
        # `pa.array`, and DuckDB's arrays of NumPy, would import numpy.ma, which takes as long as many a query.
        numbers = pa.Array.from_buffers(pa.int64(), len(stored), [None, pa.py_buffer(stored)])
        self.connection.register(_ROWS, pa.table({**rows, _ROW: numbers}))
        try:
            # An expression that was looked at, and names that are constants.
            query = f'SELECT "{_ROW}" AS stored FROM {_ROWS} {where_clause(self.expression)}'  # noqa: S608
            found: Integers = self.connection.sql(query).to_arrow_table()["stored"].to_numpy()
        except self.duckdb.Error as error:
            said = one_line(str(error).partition("\n\nLINE ")[0]).replace(f', "{_ROW}"', "").replace(f'"{_ROW}", ', "")
            raise self._refused(said[:300]) from error
        finally:
            self.connection.unregister(_ROWS)
        return np.sort(found)

    def _refused(self, reason: str) -> OptionError:
        return OptionError(
            f"the query cannot be answered: {reason}; got {shown(self.expression)}; the columns are: "
            f"{', '.join(self.names.values())}"
        )
