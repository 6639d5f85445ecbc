"""`ds.where(...)` and `ds.table(...)`: what the label table tells of the samples of a dataset or view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shardpack.read.selection import Selection


class Queryable:
    """The part of `Dataset` that reads its label table, and no sample."""

    _selection: Selection

    def _view(self, selection: Selection) -> Any:
        raise NotImplementedError

    def where(self, expression: str) -> Any:
        """Return a view of the samples that an expression of SQL is true for, in their order; reads no sample.

        It stands for what follows WHERE, in the SQL of DuckDB, and speaks of one sample at a time: its labels by their
        names, `class`, `key`, `position`, `split`, and `width`, `height`, `mode`, `format` and `bytes` of its image.
        Subqueries are refused, and files and networks out of reach. Of a view, only its own samples are looked at. The
        columns that the expression names are read; in a bucket, by range.

        Raises:
            OptionError: The dataset has no table (`shardpack table` makes one), or the expression is wrong; the
                message names the columns.
            MissingDependencyError: The extra `query` is not installed.

        Example:
            >>> ds.where("class = 'hat' and width > 400")  # doctest: +SKIP
            <Dataset 'out/': 31 of 1200 samples, 2 shards>
        """
        from shardpack.table.selected import select_where  # with the libraries of the extra

        return self._view(select_where(self._selection, expression))

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """Return labels and facts of images as a `pyarrow.Table`, a row for each sample, in order; reads no sample.

        Args:
            columns: Names of the columns; None for all. `position` is that in the whole dataset.

        Raises:
            OptionError: The dataset has no table (`shardpack table` makes one), or no such column.
            MissingDependencyError: The extra `query` is not installed.
        """
        from shardpack.table.selected import selected_columns

        return selected_columns(self._selection, columns)
