"""Samples that are known only when they are read: rows of a foreign format.

    layout of an image folder    Listing      sizes and places of payloads are known in advance     listing.py
    rows of a foreign format     RowSource    payloads are known when a row is read                 formats/

A source of rows is cut into units: what is read together, such as a file, a row group or a run of records. A worker
gets the source, which pickles without open files, and reads some rows of some units in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Value = Any  # bytes are a payload; `codecs.encode_field` makes one of anything else


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that are read together.

    Attributes:
        name: The file, and what of it, for messages: "train.tfrecord", "train.parquet, row group 3".
        num_rows: Number of its rows; None if only reading all of it tells, as for a compressed stream.
        num_bytes: Length of their payloads, as good an estimate as is cheap.
        split: The named split that all of its rows belong to, or None.
        is_whole: Whether all its rows are read from the first one on, so that each part of it costs all before.
    """

    name: str
    num_rows: int | None
    num_bytes: int
    split: str | None = None
    is_whole: bool = False


class Row(NamedTuple):
    """One sample: its key, and its fields by name."""

    key: str
    fields: Mapping[str, Value]


class BadRow(NamedTuple):
    """A row that cannot be read or mapped, while those behind it can.

    Attributes:
        name: What a person finds it by: file and record number, "train.tfrecord, record 17".
        reason: What is wrong with it, in one line: expected and got, and the byte offset where one is known.
    """

    name: str
    reason: str


class RowSource(Protocol):
    """Rows in units. Pickles; opens its files where it is used, and only to read. Safe in processes, not in threads.

    Attributes:
        format: Name of the format, as in `FORMATS`: "tfrecord".
        units: In the order of packing, which puts units of one split together.
        classes: Class names in the order of labels, or None.
        version: Changes when the input or the meaning of its rows does: names, sizes and times of files, options.
        sentence: What was found and what a sample will be, in one line without a full stop: "TFRecord: 1,200 records
            in 4 files; a sample is jpg (image/encoded) + json (3 features); key: image/filename".
    """

    @property
    def format(self) -> str: ...

    @property
    def units(self) -> Sequence[Unit]: ...

    @property
    def classes(self) -> tuple[str, ...] | None: ...

    @property
    def version(self) -> str: ...

    @property
    def sentence(self) -> str: ...

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the rows `first <= i < stop` of a unit, in order; a bad one as BadRow, whereupon the next one follows.

        Memory: a few rows, or what the format packs together (a row group, a compressed block).

        Args:
            unit: Number of the unit.
            first: First row.
            stop: Behind the last row; None for all rows from `first` on, however many there are.

        Raises:
            SourceError: Nothing more can be read of the unit; names file, record or offset, expected and got.
        """
        ...


def num_rows(source: RowSource) -> int | None:
    """Return how many rows a source has; None if that is not known before all are read."""
    counts = [unit.num_rows for unit in source.units]
    return None if None in counts else sum(count for count in counts if count is not None)
