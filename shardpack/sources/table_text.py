"""A table as it was read from its file, before its records are: its name, its bytes, how its columns are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shardpack.errors import SourceError
from shardpack.sources.csv_dialect import FILE_NAME, blanks_are_no_values, column_names, delimiter_of
from shardpack.sources.spaced_tables import spaced_table

TABLE_KINDS = {"csv": "csv", "tsv": "csv", "txt": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
HEAD_BYTES = 1 << 20  # of the tables whose first rows are looked at

Head = tuple[list[str], list[list[Any]]]  # names of columns, rows
Record = tuple[str, int, dict[str, Any]]  # table, line or row number, values by column


@dataclass(frozen=True, slots=True)
class TableText:
    """A table as it was read.

    Attributes:
        name: Its file, for messages.
        data: All of its bytes.
        key: The column that names images.
        delimiter: Of CSV: what is between cells; " " for any white space.
        skip_blanks: Of CSV: whether blanks in front of a cell are no part of it.
        columns: Of CSV: the names of the columns, () for "0", "1", ...; None if they are in its first line.
        problem: Why it is a question whether the table is meant; "" if it is clear.
    """

    name: str
    data: bytes
    key: str = FILE_NAME
    delimiter: str = ","
    skip_blanks: bool = False
    columns: tuple[str, ...] | None = None
    problem: str = ""

    @property
    def kind(self) -> str:
        """How it is written: "csv", "jsonl" or "parquet"."""
        return TABLE_KINDS.get(self.name.rpartition(".")[2].lower(), "csv")

    @property
    def folder(self) -> str:
        """The folder that it is in."""
        return self.name.rpartition("/")[0]

    @property
    def has_header(self) -> bool:
        """Whether the first line of CSV has the names of the columns."""
        return self.columns is None

    def num_lines(self) -> int:
        """Return how many lines it has at most, as records may have several."""
        text = self.data.strip()
        return (text.count(b"\n") or text.count(b"\r")) + 1

    def column_names(self, first: Sequence[str]) -> list[str]:
        """Return the names of the columns of CSV, given the cells of its first line."""
        if self.columns is None:
            return column_names(list(first))
        return list(self.columns or map(str, range(len(first))))

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise SourceError unless these columns have different names, and one is the key."""
        if self.key not in columns:
            found = ", ".join(map(repr, columns)) or "none"
            raise SourceError(
                f"{self.name} has no column {self.key!r}: found {found}; "
                "name the one that has the paths (--key-column), or choose another layout"
            )
        twice = [column for number, column in enumerate(columns) if column in columns[:number]]
        if twice:
            raise SourceError(f"{self.name} has two columns {twice[0]!r}; rename one")


def table_text(name: str, data: bytes) -> TableText:
    """Return a table; the delimiter of a CSV file is told by its name and its first line."""
    table = TableText(name, data)
    if table.kind != "csv":
        return table
    if (spaced := spaced_table(name, data)) is not None:
        table = replace(table, columns=spaced.columns, data=spaced.data, problem=spaced.problem)
        return replace(table, delimiter=" ", skip_blanks=True)
    delimiter = delimiter_of(name, data)
    return replace(table, delimiter=delimiter, skip_blanks=blanks_are_no_values(data, delimiter))
