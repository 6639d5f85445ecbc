"""Rows of a foreign format as what chunks are cut from: at units, or at rows within them, by estimated lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from xxhash import xxh3_128_hexdigest

from shardpack._version import __version__
from shardpack.errors import SourceError
from shardpack.format.split_names import in_split_order, split_names_problem
from shardpack.sources.row_source import BadRow, Row, RowSource, Unit
from shardpack.sources.splits import check_split
from shardpack.write.apply_steps import Failure, encoded_fields
from shardpack.write.chunk_input import BATCH_BYTES, BATCH_SAMPLES, Ratio, SampleName
from shardpack.write.listed_input import shown_numbers
from shardpack.write.plan_members import RowMembers
from shardpack.write.transform import ENCODED, Counts, KeyedFields

DRAWN_UNITS, DRAWN_ROWS = 8, 8  # the first rows of some units: no second pass over the source


class Rows(NamedTuple):
    """The rows `first <= i < stop` of a unit; all from `first` on if `stop` is None."""

    unit: int
    first: int
    stop: int | None


Span = tuple[Rows, ...]


class RowInput:
    """All rows of a source, or those of one split."""

    def __init__(
        self,
        source: RowSource,
        *,
        only_split: str | None = None,
        classes: Sequence[str] | None = None,
        as_split: str | None = None,
    ) -> None:
        """Take the units in the order of their splits: train, val, test, the others by name, those of none last.

        Args:
            source: The rows.
            only_split: The only split to take.
            classes: Class names for the manifest, as rows are labelled when they are written; None for the source's.
            as_split: The split that all rows are in, whatever the source says; None for its own.

        Raises:
            SourceError: A split has a name that shards cannot have; or the source has no split `only_split`.
        """
        self.source, self._only_split, self._as_split = source, only_split, as_split
        self.classes = source.classes if classes is None else tuple(classes)
        found = {unit.split for unit in source.units if unit.split is not None}
        if problem := split_names_problem(found):
            raise SourceError(problem)
        order = in_split_order(found)
        if only_split is not None:
            check_split(only_split, order)
            order = [only_split]
        ranks: dict[str | None, int] = {name: rank for rank, name in enumerate(order)}
        if only_split is None:
            ranks[None] = len(ranks)
        units = source.units
        wanted = [number for number in range(len(units)) if units[number].split in ranks]
        self._order = sorted(wanted, key=lambda number: ranks[units[number].split])

    @property
    def _units(self) -> Iterator[tuple[int, Unit]]:
        return ((number, self.source.units[number]) for number in self._order)

    @property
    def num_samples(self) -> int | None:
        counts = [unit.num_rows for _, unit in self._units]
        return None if None in counts else sum(count for count in counts if count is not None)

    @cached_property
    def source_bytes(self) -> int:
        return sum(unit.num_bytes for _, unit in self._units)

    @property
    def planned_bytes(self) -> int:
        return self.source_bytes

    @property
    def members(self) -> RowMembers:
        return RowMembers(self.source)

    def digest(self, *, anywhere: bool = False) -> str:  # noqa: ARG002 - names of files are relative anyway
        return self.span_digest("all", ())

    def drawn(self) -> Iterator[tuple[int, RowPart]]:
        units = [number for number, unit in self._units if unit.num_rows != 0]
        count = min(DRAWN_UNITS, len(units))
        for number in range(count):
            unit = units[number * len(units) // count]
            rows = self.source.units[unit].num_rows
            drawn = Rows(unit, 0, DRAWN_ROWS if rows is None else min(rows, DRAWN_ROWS))
            yield 0, RowPart(self.source, (drawn,))

    def cut(self, ratios: Sequence[Ratio], max_bytes: int, max_samples: int | None) -> list[Span]:
        ((after, before),) = ratios  # all units are one stretch: few are drawn
        cutting = _Cutting(max(1, max_bytes * before // after), max_samples)
        for number, unit in self._units:
            cutting.add(number, unit)
        cutting.close()
        return cutting.spans

    def split(self, span: Span) -> str | None:
        own = None if self._only_split else self.source.units[span[0].unit].split
        return self._as_split or own

    def span_bytes(self, span: Span) -> int:
        return sum(_bytes_of(self.source.units[rows.unit], rows) for rows in span)

    def span_digest(self, name: str, span: Span, *, anywhere: bool = False) -> str:  # noqa: ARG002 - see `digest`
        source, which = self.source, [tuple(rows) for rows in span]
        return xxh3_128_hexdigest(
            f"{__version__}\0{name}\0{source.format}\0{source.version}\0{self._only_split}\0{which}".encode()
        )

    def part(self, span: Span) -> RowPart:
        return RowPart(self.source, span)

    def first_part(self) -> RowPart:
        return RowPart(self.source, tuple(Rows(number, 0, 1) for number in self._order[:1]))

    def shown(self, count: int) -> Iterator[tuple[str | None, RowPart]]:
        units = [number for number, unit in self._units if unit.num_rows != 0]
        if len(units) == 1 and (rows := self.source.units[units[0]].num_rows) is not None:
            chosen = [(units[0], row) for row in shown_numbers(rows, count)]
        else:
            chosen = [(units[place], 0) for place in shown_numbers(len(units), count)]
        for unit, row in chosen:
            span = (Rows(unit, row, row + 1),)
            yield self.split(span), RowPart(self.source, span)

    def compared(self, spans: Sequence[Span], count: int) -> Iterator[tuple[int, RowPart]]:
        drawn = min(count, len(spans))
        for number in range(drawn):
            chunk = number * len(spans) // drawn
            unit, first, _ = spans[chunk][0]
            yield chunk, RowPart(self.source, (Rows(unit, first, first + 1),))


def _bytes_of(unit: Unit, rows: Rows) -> int:
    if not unit.num_rows or rows.stop is None:
        return unit.num_bytes
    return unit.num_bytes * (rows.stop - rows.first) // unit.num_rows


class _Cutting:
    """Cuts units into chunks: preferably between units, and never in one that is read from its first row on."""

    def __init__(self, max_bytes: int, max_samples: int | None) -> None:
        self.spans: list[Span] = []
        self._max_bytes, self._max_samples = max_bytes, max_samples
        self._open: list[Rows] = []
        self._bytes = self._rows = 0
        self._split: str | None = None

    def close(self) -> None:
        """End the chunk that is open, if there is one."""
        if self._open:
            self.spans.append(tuple(self._open))
        self._open, self._bytes, self._rows = [], 0, 0

    def add(self, number: int, unit: Unit) -> None:
        """Add the rows of a unit."""
        if unit.split != self._split:
            self.close()
            self._split = unit.split
        if unit.num_rows is None or unit.is_whole:
            self._add_whole(number, unit)
            return
        first = 0
        while first < unit.num_rows:
            stop = self._stop(unit, first)
            if stop == first:
                self.close()
                continue
            rows = Rows(number, first, stop)
            self._take(rows, _bytes_of(unit, rows))
            self._rows += stop - first
            first = stop

    def _add_whole(self, number: int, unit: Unit) -> None:
        num_rows, most = unit.num_rows, self._max_samples
        is_counted = most is None or (num_rows is not None and self._rows + num_rows <= most)
        if self._bytes + unit.num_bytes > self._max_bytes or not is_counted:
            self.close()
        self._take(Rows(number, 0, num_rows), unit.num_bytes)
        self._rows += num_rows or 0
        if num_rows is None and most is not None:
            self.close()

    def _stop(self, unit: Unit, first: int) -> int:
        """Return up to where rows fit into the chunk that is open: `first` if it should be closed before."""
        assert unit.num_rows is not None
        room = self._max_bytes - self._bytes
        rest = _bytes_of(unit, Rows(0, first, unit.num_rows))
        if self._open and rest > room and 2 * self._bytes >= self._max_bytes:
            return first  # rather than read a unit for two chunks
        stop = unit.num_rows if rest <= room else first + room * unit.num_rows // unit.num_bytes
        if self._max_samples is not None:
            stop = min(stop, first + self._max_samples - self._rows)
        return max(stop, first if self._open else first + 1)

    def _take(self, rows: Rows, num_bytes: int) -> None:
        self._open.append(rows)
        self._bytes += num_bytes


@dataclass(frozen=True, slots=True, eq=False)
class RowPart:
    """Rows of some units. Pickles as the source does."""

    source: RowSource
    span: Span

    @property
    def title(self) -> str:
        names = [self.source.units[unit].name for unit, _, _ in self.span]
        return f"{names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}" if names else "no rows"

    def batches(self) -> Iterator[RowBatch]:
        for unit, first, stop in self.span:
            rows = self.source.rows(unit, first, stop)
            batch = RowBatch(self.source.units[unit], first)
            for row in rows:
                batch.add(row)
                if batch.is_full:
                    yield batch
                    batch = RowBatch(self.source.units[unit], batch.stop)
            is_known = self.source.units[unit].num_rows is not None  # otherwise `stop` is only how many are wanted
            if stop is not None and is_known and batch.stop != stop:
                raise SourceError(
                    f"source changed while packing: expected {stop} rows, got {batch.stop}; run the same command again",
                    path=self.source.units[unit].name,
                )
            if batch.samples:
                yield batch

    def probe(self) -> None:
        for unit, first, stop in self.span:
            list(islice(self.source.rows(unit, first, stop), 1))


class RowBatch:
    """Rows of a unit, their values encoded."""

    def __init__(self, unit: Unit, first: int) -> None:
        self._unit, self._first = unit, first
        self._bytes: list[int] = []
        self._names: list[str | None] = []
        self.samples: list[KeyedFields | Failure] = []
        self.counts: Counts = Counter()
        self.num_bytes = 0

    @property
    def stop(self) -> int:
        """Number of the row behind the batch."""
        return self._first + len(self.samples)

    @property
    def is_full(self) -> bool:
        """Whether no row should be added any more."""
        return self.num_bytes >= BATCH_BYTES or len(self.samples) >= BATCH_SAMPLES

    def add(self, row: Row | BadRow) -> None:
        """Add the next row."""
        num_bytes = 0
        name = None
        if isinstance(row, BadRow):
            name = row.name
            self.samples.append(Failure(row.reason))
        else:
            try:
                fields = encoded_fields(row.fields, self.counts)
            except SourceError as error:
                self.samples.append(Failure(str(error.args[0])))
            else:
                self.counts.pop(f"{ENCODED}json", None)  # in every row, by no library
                self.samples.append((row.key, fields))
                num_bytes = sum(map(len, fields.values()))
        self._names.append(name)
        self._bytes.append(num_bytes)
        self.num_bytes += num_bytes

    def name(self, number: int) -> SampleName:
        sample, name = self.samples[number], self._names[number]
        if name is None:
            name = f"{self._unit.name}, row {self._first + number}"
        return SampleName(name, None if isinstance(sample, Failure) else sample[0], name)

    def planned_bytes(self, number: int) -> int:
        """Return the share of a row in the length of its unit; its own length where the number of rows is unknown."""
        unit = self._unit
        return unit.num_bytes // unit.num_rows if unit.num_rows else self._bytes[number]
