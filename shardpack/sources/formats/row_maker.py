"""Rows of any format that has columns: from columns to `Row`, or to `BadRow` with its name and the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shardpack.codecs.field_types import parse_json
from shardpack.errors import DecodeError, ShardpackError
from shardpack.sources.class_list import contradiction_in
from shardpack.sources.formats.mapping import Columns, RowMapping
from shardpack.sources.formats.row_keys import RowKeys
from shardpack.sources.formats.row_values import key_text
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
            return self.checked(name, Row(self.keys.key(unit, key), self.mapping.fields(found)))
        except ShardpackError as error:
            return BadRow(name, str(error))

    def checked(self, name: str, row: Row) -> Row | BadRow:
        """Return a sample, or a bad row if its label contradicts the class list of the dataset."""
        label, classes = row.fields.get("json"), self.mapping.class_list
        if label is None or classes is None:
            return row
        with suppress(DecodeError):  # payloads are as they are
            label = parse_json(bytes(label)) if isinstance(label, (bytes, memoryview)) else label
        reason = contradiction_in(label, classes)
        return BadRow(name, reason) if reason else row


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
