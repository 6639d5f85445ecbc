"""Which samples an expression of SQL is true for, as DuckDB computes it from Arrow columns in memory.

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


def matching(
    table: LabelTable,
    expression: str,
    shown_positions: Callable[[Integers], Integers],
    among: Callable[[Integers], Integers] = lambda stored: stored,
) -> Integers:
    """Return the stored positions of the rows that an expression is true for, ascending.

    Args:
        table: The open table.
        expression: As it stands behind WHERE.
        shown_positions: Returns what users know stored positions as: `position` in the expression.
        among: Returns those of ascending stored positions that the expression is asked about: it may fail for others.
            Default: all, also those of deleted samples, which have rows, too.

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
            stored = among(np.arange(first, first + count))
            if len(stored) < count:
                own = np.zeros(count, bool)
                own[stored - first] = True
                asked = {name: column.filter(pyarrow_module().array(own)) for name, column in rows.items()}
            else:
                asked = rows
            if "position" in columns:
                asked["position"] = pyarrow_module().array(shown_positions(stored))
            found.append(np.sort(query.filter(asked, stored)))
    return np.concatenate(found)


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
        types = {**own_types(), MORE: pa.string(), **{name: arrow_type(kind) for name, kind in table.types.items()}}
        self.filter({name: pa.nulls(0, types[name]) for name in table.columns}, np.zeros(0, np.int64))
        return [column for column, name in self.names.items() if named is None or name.lower() in named]

    def filter(self, columns: Mapping[str, Any], stored: Integers) -> Integers:
        """Return those stored positions of some rows for which the expression is true."""
        pa = pyarrow_module()
        rows = {self.names[name]: column for name, column in columns.items()}
        self.connection.register(_ROWS, pa.table({**rows, _ROW: pa.array(stored, pa.int64())}))
        try:
            # An expression that was looked at, and names that are constants.
            query = f'SELECT "{_ROW}" AS stored FROM {_ROWS} {where_clause(self.expression)}'  # noqa: S608
            found: Integers = self.connection.execute(query).fetchnumpy()["stored"]
        except self.duckdb.Error as error:
            said = one_line(str(error).partition("\n\nLINE ")[0]).replace(f', "{_ROW}"', "").replace(f'"{_ROW}", ', "")
            raise OptionError(
                f"the query cannot be answered: {said[:300]}; got {shown(self.expression)}; the columns are: "
                f"{', '.join(self.names.values())}"
            ) from error
        finally:
            self.connection.unregister(_ROWS)
        return found
