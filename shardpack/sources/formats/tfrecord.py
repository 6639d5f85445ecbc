"""TFRecord files of tf.train.Example or SequenceExample: one, those in a folder, or a folder of TFDS.

Units are runs of records of a file on disk, found by reading the lengths alone; of a compressed or remote file,
the whole file. Class names are those of TFDS: `<feature>.labels.txt` beside the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from shardpack.errors import DecodeError, SourceError
from shardpack.runtime.threads import ordered_map
from shardpack.sources.formats.byte_stream import ByteStream, RangeStream, inflate, read_pieces
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import with_text_classes
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.example import decode_example
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.formats.tfrecord_file import compression_of, is_header, read_records, runs_of_records, skip
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "tfrecord"
RUN_BYTES = 32 << 20
_PATTERNS = ("*.tfrecord", "*.tfrecords", "*.tfrec", "*.tfrecord.gz", "*.tfrecords.gz", "*.tfrecord-*-of-*")
_PARTS = "*-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]"
_TFDS_SPLIT = re.compile(r".*-([A-Za-z0-9_]+)\.[a-z]+-\d{5}-of-\d{5}")
_TFDS_FACTS = ("features.json", "dataset_info.json")
_LABELS = ".labels.txt"
_MAX_LABELS_BYTES = 64 << 20
_FILES_AT_ONCE = 8
_DRAWN_RECORDS = 4  # of each drawn unit


@dataclass(frozen=True, slots=True)
class _Run:
    """Records of a file, one behind the other; `first` is the number of the first of them."""

    name: str
    start: int
    stop: int
    first: int
    num_records: int | None
    compression: str | None


def detect(found: FoundFiles) -> bool:
    """Return whether these are TFRecord files: by the checksum of the first length, or by the name if compressed."""
    names = found.names if found.is_file else (found.matching(*_PATTERNS) or found.matching(_PARTS))[:1]
    if not names:
        return False
    head = found.head(names[0])
    return is_header(head) or (bool(found.matching(*_PATTERNS)) and compression_of(head) is not None)


def open(  # noqa: A001 - the name in the protocol
    found: FoundFiles, options: FormatOptions, *, run_bytes: int = RUN_BYTES
) -> TFRecords:
    """Return the records; reads the lengths of records of uncompressed files on disk, and a few records.

    All records are read where texts are the labels, and no file names the classes: these texts are.

    Raises:
        SourceError: A file is damaged, or holds something else.
        OptionError: An option does not fit.
    """
    options.refuse(NAME, "unpickle", "raw")
    names = found.names if found.is_file else tuple(found.matching(*_PATTERNS) or found.matching(_PARTS))
    if not names:
        raise SourceError(f"no TFRecord file is in {found.location!r}; expected names such as *.tfrecord")
    is_tfds = any(found.matching(fact) for fact in _TFDS_FACTS)
    splits = [_tfds_split(name) for name in names] if is_tfds else splits_of(names)
    runs: list[_Run] = []
    units: list[Unit] = []
    with closing(
        ordered_map(names, partial(_runs_of, found, run_bytes), depth=_FILES_AT_ONCE, purpose="lengths")
    ) as runs_of_files:
        for split, of_file in zip(splits, runs_of_files, strict=True):
            runs += of_file
            units += [Unit(run.name, run.num_records, run.stop - run.start, split) for run in of_file]
    rows = [(row, units[unit].split) for unit in drawn_units(len(runs)) for row in _first_rows(found, runs[unit])]
    drawn, of_rows = [row for row, _ in rows], [split for _, split in rows]
    mapping = choose_mapping(drawn, options, splits=of_rows)
    named = f"{(mapping.label_column or '').replace('/', '-')}{_LABELS}"
    labels = found.matching(named.lower())
    if labels:
        mapping = choose_mapping(drawn, options, classes=_class_names(found, labels[0]), splits=of_rows)
    mapping = with_text_classes(mapping, partial(_values_of, found, runs))
    sentence = (
        f"TFRecord: {counted_rows(units, 'record')} in {len(names):,} file{'s' * (len(names) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}"
        f"{found.others([*names, *found.matching('*' + _LABELS, *_TFDS_FACTS)])}"
    )
    version = found.version_of([*names, *labels], more=f"{NAME} {options.text()} {mapping}")
    return TFRecords(
        format=NAME,
        units=tuple(units),
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        found=found,
        runs=tuple(runs),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TFRecords(MappedRows):
    """The rows of TFRecord files, as `RowSource` says."""

    found: FoundFiles
    runs: tuple[_Run, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples of records; see `RowSource.rows`. A record whose checksum differs is a bad row."""
        run = self.runs[unit]
        if first and run.num_records is not None:
            start = skip(self.found.store, run.name, first, start=run.start, stop=run.stop, first=run.first)
            run = replace(run, start=start, first=run.first + first)
            stop, first, number = None if stop is None else stop - first, 0, first
        else:
            number = 0
        records = read_records(_stream(self.found, run), name=run.name, first=run.first)
        for row, (offset, data) in islice(enumerate(records), first, stop):
            name = f"{run.name}, record {run.first + row} at byte {offset}"
            if data is None:
                yield BadRow(name, "its data does not have its checksum; copy the file again")
            else:
                yield self.maker.row(unit, number + row, name, partial(_columns, data))


def _columns(data: memoryview) -> Columns:
    """Return the features of a record; a sequence whose steps hold one value each is a list of these."""
    columns = decode_example(data)
    for name, values in columns.items():
        if values and all(isinstance(step, list) and len(step) == 1 for step in values):
            columns[name] = [value for (value,) in values]
    return columns


def _runs_of(found: FoundFiles, run_bytes: int, name: str) -> list[_Run]:
    """Return the runs of a file; an empty file has none."""
    size, head = found.size(name), found.head(name)
    compression = compression_of(head)
    if not size:
        return []
    if compression is None and not is_header(head):
        raise SourceError("not a TFRecord file: its first length does not have its checksum", path=name, offset=0)
    if compression is not None or found.store.remote:
        return [_Run(name, 0, size, 0, None, compression)]
    runs, first = [], 0
    for start, stop, count in runs_of_records(found.store, name, run_bytes):
        runs.append(_Run(name, start, stop, first, count, None))
        first += count
    return runs


def _stream(found: FoundFiles, run: _Run) -> ByteStream:
    if run.compression is not None:
        pieces = read_pieces(found.store, run.name)
        return ByteStream(inflate(pieces, name=run.name, codec=run.compression), name=run.name)
    return RangeStream(found.store, run.name, run.start, run.stop)


def _first_rows(found: FoundFiles, run: _Run) -> list[Columns]:
    """Return the columns of some records, by which columns get their roles; damaged records are passed over.

    Raises:
        SourceError: The first record is not an Example.
    """
    rows: list[Columns] = []
    records = read_records(_stream(found, run), name=run.name, first=run.first)
    for offset, data in islice(records, _DRAWN_RECORDS):
        try:
            rows.append({} if data is None else _columns(data))
        except DecodeError as error:
            if not rows:
                raise SourceError(
                    f"its records hold something else than tf.train.Example: {error}", path=run.name, offset=offset
                ) from error
    return rows


def _values_of(found: FoundFiles, runs: Sequence[_Run], column: str) -> Iterator[Any]:
    """Yield the values of a feature in all records; damaged records are passed over."""
    for run in runs:
        for _, data in read_records(_stream(found, run), name=run.name, first=run.first):
            with suppress(DecodeError):
                yield None if data is None else _columns(data).get(column)


def _tfds_split(name: str) -> str | None:
    match = _TFDS_SPLIT.fullmatch(name.rpartition("/")[2])
    return match[1] if match else None


def _class_names(found: FoundFiles, name: str) -> tuple[str, ...]:
    try:
        text = found.read(name, max_bytes=_MAX_LABELS_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SourceError(f"not UTF-8 at byte {error.start}; save it as UTF-8", path=name) from error
    names = tuple(line for line in text.splitlines() if line)
    if len(set(names)) < len(names):
        raise SourceError("a class is named twice; each name needs a line of its own", path=name)
    return names
