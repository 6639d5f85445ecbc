"""Rows of any format that has columns: from columns to `Row`, or to `BadRow` with its name and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from shardpack.errors import ShardpackError
from shardpack.sources.formats.mapping import Columns, RowMapping, key_text
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.row_source import BadRow, Row, Unit


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Makes samples of rows. Pickles.

    Attributes:
        mapping: The roles of columns.
        keys: The keys of rows.
    """

    mapping: RowMapping
    keys: RowKeys

    @classmethod
    def of(cls, mapping: RowMapping, units: Sequence[Unit], drawn: Iterable[Columns]) -> RowMaker:
        """Return what makes samples of the rows of these units; drawn rows tell whether keys begin with a split."""
        splits = tuple({f"{unit.split}/" for unit in units if unit.split is not None})
        keys = [key_text(mapping.value_of_key(row)) for row in drawn]
        have_splits = bool(keys) and all(key is not None and key.startswith(splits) for key in keys)
        return cls(mapping, RowKeys.of(units, have_splits=have_splits))

    def row(self, unit: int, number: int, name: str, columns: Callable[[], Columns]) -> Row | BadRow:
        """Return the sample of a row, or what is wrong with it.

        Args:
            unit: Number of its unit.
            number: Its number in the unit.
            name: What a person finds it by.
            columns: Returns its columns; may raise an error of ours.
        """
        try:
            found = columns()
            key = self.mapping.key(found, self.keys.number(unit, number))
            return Row(self.keys.key(unit, key), self.mapping.fields(found))
        except ShardpackError as error:
            return BadRow(name, str(error))


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedRows:
    """What `RowSource` asks of a format whose rows are columns, all but `rows`. Pickles."""

    format: str
    units: tuple[Unit, ...]
    maker: RowMaker
    version: str
    sentence: str

    @property
    def classes(self) -> tuple[str, ...] | None:
        mapping = self.maker.mapping
        return mapping.classes if mapping.class_list is None else mapping.class_list
