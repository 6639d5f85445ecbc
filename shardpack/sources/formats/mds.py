"""MosaicML's MDS: folders with `index.json` and shards, a split each; units are shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from shardpack.errors import DecodeError, OptionError, SourceError
from shardpack.sources.formats.choose_mapping import choose_mapping, describe_mapping
from shardpack.sources.formats.column_scan import with_text_classes
from shardpack.sources.formats.drawn_rows import counted_rows, drawn_units
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.importer import FormatOptions
from shardpack.sources.formats.mapping import Columns
from shardpack.sources.formats.mds_shard import MdsReader, MdsShard, codec_of
from shardpack.sources.formats.mds_values import has_raw_pixels
from shardpack.sources.formats.row_maker import MappedRows, RowMaker
from shardpack.sources.formats.split_names import splits_of
from shardpack.sources.row_source import BadRow, Row, Unit

NAME = "mds"
INDEX = "index.json"
_SHARDS = ("*.mds", "*.mds.*")
_MAX_INDEX_BYTES = 256 << 20
_DRAWN_ROWS = 4


def detect(found: FoundFiles) -> bool:
    """Return whether this is a folder of MDS, by names."""
    return bool(found.matching(INDEX)) and bool(found.matching(*_SHARDS))


def open(found: FoundFiles, options: FormatOptions) -> MdsRows:  # noqa: A001 - the name in the protocol
    """Return the rows; reads indexes, and a few samples; all where texts are the labels, which are the classes then.

    Raises:
        SourceError: An index or a shard is damaged, or a column is pickled.
        OptionError: An option does not fit; or images are raw, and `raw` is not given.
    """
    options.refuse(NAME, "unpickle")
    indexes = found.matching(INDEX)
    if not indexes:
        raise SourceError(f"no {INDEX} is in {found.location!r}; name the folder that holds it")
    shards = tuple(shard for index in indexes for shard in _listed(found, index))
    if not shards:
        raise SourceError(f"no shard is listed in {', '.join(indexes)}")
    names = [shard.name for shard in shards]
    units = tuple(
        Unit(shard.name, shard.num_samples, shard.num_bytes, split)
        for shard, split in zip(shards, splits_of(names), strict=True)
    )
    drawn: list[Columns] = []
    splits: list[str | None] = []
    for unit in drawn_units(len(shards)):
        reader = MdsReader(found.store, shards[unit])
        if options.raw is None and any(map(has_raw_pixels, reader.columns.values())):
            raise OptionError(
                "its images are raw pixels; choose how they are stored: raw='png', without loss, or raw='npy' "
                "(--raw png)"
            )
        for _, data in islice(reader.samples(0, shards[unit].num_samples), _DRAWN_ROWS):
            with suppress(DecodeError):  # a bad row later on
                drawn.append(reader.values(data))
                splits.append(units[unit].split)
    mapping = choose_mapping(drawn, options, unwrap=False, splits=splits)
    mapping = with_text_classes(mapping, partial(_values_of, found, shards))
    sentence = (
        f"MDS: {counted_rows(units, 'sample')} in {len(shards):,} shard{'s' * (len(shards) > 1)}; "
        f"a sample is {describe_mapping(mapping, drawn)}{found.others([*names, *indexes])}"
    )
    version = found.version_of([*indexes, *names], more=f"{NAME} {options.text()} {mapping}")
    return MdsRows(
        format=NAME,
        units=units,
        maker=RowMaker.of(mapping, units, drawn),
        version=version,
        sentence=sentence,
        found=found,
        shards=shards,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MdsRows(MappedRows):
    """The rows of MDS shards, as `RowSource` says."""

    found: FoundFiles
    shards: tuple[MdsShard, ...]

    def rows(self, unit: int, first: int, stop: int | None) -> Iterator[Row | BadRow]:
        """Yield the samples of a shard; see `RowSource.rows`."""
        shard = self.shards[unit]
        reader = MdsReader(self.found.store, shard)
        for number, data in reader.samples(first, shard.num_samples if stop is None else stop):
            yield self.maker.row(unit, number, f"{shard.name}, sample {number}", partial(reader.values, data))


def _values_of(found: FoundFiles, shards: Sequence[MdsShard], column: str) -> Iterator[Any]:
    """Yield the values of a column in all samples; damaged samples are passed over."""
    for shard in shards:
        reader = MdsReader(found.store, shard)
        for _, data in reader.samples(0, shard.num_samples):
            with suppress(DecodeError):
                yield reader.values(data).get(column)


def _listed(found: FoundFiles, index: str) -> Iterator[MdsShard]:
    """Yield the shards that an index lists: files beside it, whatever path they have there."""
    folder, there = index.removesuffix(INDEX), set(found.names)
    try:
        listed = json.loads(found.read(index, max_bytes=_MAX_INDEX_BYTES))["shards"]
        for number, shard in enumerate(listed):
            yield _shard(shard, folder, there, f"{index}, shard {number}")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"not an index of MDS: {type(error).__name__} {error}", path=index) from error


def _shard(shard: Any, folder: str, there: set[str], where: str) -> MdsShard:
    if shard["format"] != "mds":
        raise SourceError(f"its shards are {shard['format']!r}, expected 'mds'; convert the dataset", path=where)
    raw, zipped = shard["raw_data"], shard.get("zip_data")
    samples, num_bytes = shard["samples"], raw["bytes"]
    if not all(isinstance(number, int) and number >= 0 for number in (samples, num_bytes)):
        raise SourceError(f"{samples!r} samples in {num_bytes!r} bytes", path=where)
    for file in (raw, zipped):
        if file is not None and f"{folder}{file['basename']}" in there:
            name = f"{folder}{file['basename']}"
            return MdsShard(name, samples, num_bytes, codec_of(name))
    raise SourceError(f"its file {raw['basename']!r} is not beside the index; copy it there", path=where)
