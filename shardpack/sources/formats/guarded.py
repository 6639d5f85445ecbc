"""Rows of libraries that may end the process at a damaged file: read in a child, unless this process is one.

worker process       rows are read here; if it dies, the error names the units of its task
any other process    a child reads and sends a few megabytes at a time; if it dies, a SourceError names the unit
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import SourceError
from shardpack.runtime.guard import Guard, Lost
from shardpack.runtime.worker import is_worker
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.row_source import BadRow, Row, RowSource, Unit

_SENT_BYTES, _SENT_ROWS = 4 << 20, 64
_ADVICE = "the file is probably damaged; copy it again"

Open = Callable[[FoundFiles, FormatOptions], RowSource]


@dataclass(frozen=True, slots=True)
class GuardedRows:
    """The rows of another source, as `RowSource` says. Pickles."""

    source: RowSource

    @property
    def format(self) -> str:
        return self.source.format

    @property
    def units(self) -> Sequence[Unit]:
        return self.source.units

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.source.classes

    @property
    def version(self) -> str:
        return self.source.version

    @property
    def sentence(self) -> str:
        return self.source.sentence

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield rows; see `RowSource.rows`.

        Raises:
            SourceError: The library ended the child.
        """
        if is_worker():
            yield from self.source.rows(unit, first, stop)
            return
        at: int | None = first
        with Guard(_read, self.source) as guard:
            while at is not None:
                found = guard.run([(unit, at, stop)])
                if isinstance(found, Lost):
                    raise SourceError(f"reading {self.units[unit].name} {found.reason}; {_ADVICE}")
                ((rows, at),) = found
                yield from rows


def open_guarded(open_source: Open, found: FoundFiles, options: FormatOptions) -> RowSource:
    """Return the source that a module-level function opens, guarded.

    Raises:
        SourceError: The library ended the child; or as the function.
    """
    if is_worker():
        return GuardedRows(open_source(found, options))
    with Guard(_open, (open_source, found)) as guard:
        opened = guard.run([options])
    if isinstance(opened, Lost):
        raise SourceError(f"opening {found.location!r} {opened.reason}; {_ADVICE}")
    return GuardedRows(opened[0])


# The child's side


def _open(setting: tuple[Open, FoundFiles], options: FormatOptions) -> RowSource:
    open_source, found = setting
    return open_source(found, options)


_reading: list[tuple[tuple[int, int, int | None], Iterator[Any]]] = []  # what comes next, and the rows; one at most


def _read(source: RowSource, wanted: tuple[int, int, int | None]) -> tuple[list[Row | BadRow], int | None]:
    """Return the next few rows, and the number of the row behind them; None at the end."""
    unit, first, stop = wanted
    if not _reading or _reading[0][0] != wanted:
        _reading[:] = [(wanted, source.rows(unit, first, stop))]
    rows, sent = _reading[0][1], 0
    found: list[Row | BadRow] = []
    for row in rows:
        found.append(row)
        if isinstance(row, Row):
            sent += sum(len(value) for value in row.fields.values() if isinstance(value, bytes))
        if sent >= _SENT_BYTES or len(found) >= _SENT_ROWS:
            following = first + len(found)
            _reading[:] = [((unit, following, stop), rows)]
            return found, following
    _reading.clear()
    return found, None
