"""The numbers of rows as keys, and the splits before them: the same for every format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.sources.row_source import Unit

_LEAST_DIGITS = 6
_FILE_DIGITS, _ROW_DIGITS = 5, 8  # where only reading tells how many rows there are


@dataclass(frozen=True, slots=True)
class RowKeys:
    """Makes keys that are different in the whole source. Pickles.

    Rows are numbered within their split: 000012. Of units that do not know how many rows they have, the unit's number
    comes before that of the row: 00003-00000012. If there are several splits, theirs come first, train/000012, unless
    keys begin with their split already, so that they do not grow with each export and import.

    Attributes:
        prefixes: (units) what comes before all keys of a unit.
        firsts: (units) number of the first row; None if only the unit is numbered.
        digits: (units) how many a number has at least.
    """

    prefixes: tuple[str, ...]
    firsts: tuple[int | None, ...]
    digits: tuple[int, ...]

    @classmethod
    def of(cls, units: Sequence[Unit], *, have_splits: bool = False) -> RowKeys:
        """Return the keys of the rows of these units.

        Args:
            units: The units.
            have_splits: Whether keys begin with their split already. All stay as they are then; for the others to get
                theirs would make one key of `a` and `train/a`.
        """
        several = not have_splits and len({unit.split for unit in units}) > 1
        totals: dict[str | None, int | None] = {}
        firsts: list[int | None] = []
        for unit in units:
            before = totals.get(unit.split, 0)
            firsts.append(before)
            totals[unit.split] = None if before is None or unit.num_rows is None else before + unit.num_rows
        prefixes, digits = [], []
        for number, unit in enumerate(units):
            total = totals[unit.split]
            if total is None:
                firsts[number] = None
            prefixes.append(f"{unit.split}/" if several and unit.split is not None else "")
            digits.append(_ROW_DIGITS if total is None else max(_LEAST_DIGITS, len(str(total - 1))))
        return cls(tuple(prefixes), tuple(firsts), tuple(digits))

    def number(self, unit: int, row: int) -> str:
        """Return the number of a row, as text."""
        first, digits = self.firsts[unit], self.digits[unit]
        return f"{unit:0{_FILE_DIGITS}d}-{row:0{digits}d}" if first is None else f"{first + row:0{digits}d}"

    def key(self, unit: int, key: str) -> str:
        """Return a key of a row of this unit, with its split before if that is missing."""
        return self.prefixes[unit] + key
