"""Compare a dataset with what it was packed from: every payload of the source with its checksum in the index.

source --as pack lists it--> key, fields --length, CRC32C--> compared with the index of the sample of that key
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from shardpack.errors import ObjectTooLargeError, OptionError, ShardNotFoundError, ShardpackError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import REJECTED_PATH
from shardpack.format.manifest import Manifest
from shardpack.format.naming import escape_key, key_bytes
from shardpack.inspect.problem import KINDS, Problem
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.opened_shards import opened_shards
from shardpack.read.sample import SampleLocation
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.engine import Engine
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import Progress
from shardpack.sources.archives.spool import Spool
from shardpack.sources.dataset import DatasetSource, Listable
from shardpack.sources.folder import FolderSource
from shardpack.sources.formats.importer import FORMATS, open_format
from shardpack.sources.layouts.detect import AUTO, LAYOUT_CHOICES
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_payload
from shardpack.sources.row_source import BadRow
from shardpack.sources.source import ListOptions, Problems
from shardpack.sources.splits import only_split
from shardpack.storage.url import is_url
from shardpack.write.apply_steps import encoded_fields
from shardpack.write.pack_rows import find_rows
from shardpack.write.request import PackRequest

SAMPLES_PER_TASK = 500
SHOWN = 5  # samples named of each kind of problem
MAX_REJECTED_BYTES = 256 << 20  # of the list of samples that packing left out
CHANGES = ("transform", "resize", "encode")  # options of pack that change payloads

Fields = Mapping[str, tuple[int, int]]  # field -> length and CRC32C


class Original(NamedTuple):
    """One sample of the source; `problem` says why it could not be read. `name` is its path, or its key."""

    key: str
    name: str
    fields: Fields
    problem: str = ""


def verify_source(
    source: str | os.PathLike[str] | Listable,
    cache: ShardCache,
    *,
    storage_options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    progress: Progress,
) -> list[Problem]:
    """Return which samples differ from those of the source, are missing, or are not in the source.

    Samples that were deleted from the dataset, or rejected while packing, are not missing. Of a dataset with layers
    the shards are compared, which the layers leave as they were packed.

    Args:
        source: What the dataset was packed from: a folder, an archive, files of a foreign format, or a dataset.
        cache: The dataset.
        storage_options: For a source that is a URL.
        jobs: Worker processes that read the source.
        progress: Called as progress("compare", samples done, all samples, or 0 where that is not known).

    Raises:
        OptionError: The dataset was packed with options that change payloads.
        SourceError: The source cannot be listed.
    """
    request = _request(cache.manifest)
    comparison = _Comparison(cache)
    with ExitStack() as stack:
        engine = stack.enter_context(start_workers(jobs))
        spool = stack.enter_context(Spool())
        total, batches = _originals(source, request, engine, spool, storage_options)
        done = 0
        for batch in batches:
            comparison.compare(batch)
            done += len(batch)
            progress("compare", done, max(total, done) if total else 0)
    return comparison.problems()


def _request(manifest: Manifest) -> PackRequest:
    """Return the options that the dataset was packed with, as far as they tell which samples and fields there are."""
    compressed = [name for name in manifest.option("compress") or {} if name != "shards"]
    if changes := [name for name in CHANGES if manifest.option(name)] + ["compress"] * bool(compressed):
        raise OptionError(
            f"the dataset was packed with {changes[0]}, so its payloads are not those of the source; compare it with "
            "a dataset that was packed in the same way"
        )
    layout = manifest.option("layout")
    said = ("split", "rename_keys", "key_column", "label_column", "unpickle", "raw", "ignore", "fields", "rename_field")
    options = {name: value for name in said if (value := manifest.option(name)) is not None}
    return PackRequest(
        layout=layout if layout in LAYOUT_CHOICES else AUTO,
        source_format=layout if layout in FORMATS else None,
        on_error="skip",
        **options,
    )


# --- The source --------------------------------------------------------------------------------


def _originals(
    source: str | os.PathLike[str] | Listable,
    request: PackRequest,
    engine: Engine,
    spool: Spool,
    storage_options: Mapping[str, Any] | None,
) -> tuple[int, Iterator[Sequence[Original]]]:
    """Return the number of samples, 0 if that is not known, and the samples some at a time."""
    if isinstance(source, (str, os.PathLike)):
        options = storage_options if is_url(source) else None
        if (rows := find_rows(source, request, options)) is not None:
            return 0, _of_rows(*rows, request)
        listed = FolderSource(
            source,
            request.layout,
            ignore=request.ignore,
            key_column=request.key_column,
            label_column=request.label_column,
            storage_options=options,
        )
        return _of_listing(listed, request, engine, spool)
    return _of_listing(DatasetSource(source, request.split), request, engine, spool)


def _of_listing(
    source: FolderSource | DatasetSource, request: PackRequest, engine: Engine, spool: Spool
) -> tuple[int, Iterator[Sequence[Original]]]:
    options = ListOptions(rename_keys=request.rename_keys, on_error="skip", engine=engine, unpack=spool.unpack)
    listing = source.list(options).listing
    if request.split is not None:
        listing = only_split(listing, request.split)
    if request.steps.select is not None:
        listing = request.steps.select.of_listing(listing, Problems())
    total = listing.num_samples
    tasks = (listing.slice(at, min(at + SAMPLES_PER_TASK, total)) for at in range(0, total, SAMPLES_PER_TASK))
    return total, (batch for _, batch in engine.map(measured, tasks))


def measured(listing: Listing) -> list[Original]:
    """Return length and checksum of each payload; of those whose checksum is known, nothing is read."""
    known = listing.crc32c
    originals: list[Original] = []
    for sample, key in enumerate(listing.keys):
        fields: dict[str, tuple[int, int]] = {}
        problem = ""
        first = int(listing.start[sample])
        for member in range(first, int(listing.start[sample + 1])):
            field = listing.fields[listing.field_code[member]]
            if known is not None and known[member] >= 0:
                fields[field] = int(listing.size[member]), int(known[member])
                continue
            try:
                data = read_payload(listing, member)
            except (OSError, ShardpackError) as error:
                problem = f"{field} cannot be read: {getattr(error, 'strerror', None) or error}"
                break
            fields[field] = len(data), crc32c(data)
        paths = listing.payload[first : int(listing.start[sample + 1])]
        name = next((path for path in paths if isinstance(path, str)), key)
        originals.append(Original(key, name, fields, problem))
    return originals


def _of_rows(found: Any, name: str, request: PackRequest) -> Iterator[Sequence[Original]]:
    """Yield rows of a foreign format as they are packed."""
    source = open_format(name, found, request.format_options)
    units = [n for n, unit in enumerate(source.units) if request.split in (None, unit.split)]
    rows = (row for unit in units for row in source.rows(unit, 0, None))
    while batch := list(islice(rows, SAMPLES_PER_TASK)):
        yield [_of_row(row.key, row.fields, request) for row in batch if not isinstance(row, BadRow)]


def _of_row(key: str, fields: Mapping[str, Any], request: PackRequest) -> Original:
    names = {name: name for name in fields} if request.steps.select is None else request.steps.select.new_names(fields)
    try:
        encoded = encoded_fields({new: fields[old] for old, new in names.items()}, Counter())
    except ShardpackError as error:
        return Original(key, key, {}, str(error))
    key = escape_key(key) if request.rename_keys else key
    return Original(key, key, {name: (len(data), crc32c(data)) for name, data in encoded.items()})


# --- The comparison ----------------------------------------------------------------------------


class _Comparison:
    """Compares samples of the source with those of a dataset."""

    def __init__(self, cache: ShardCache) -> None:
        self._cache, self._lookup = cache, KeyLookup(cache)
        self._seen = np.zeros(cache.manifest.num_samples, bool)
        self._found: dict[str, list[Problem]] = {}
        self._counts: dict[str, int] = {}
        self._rejected = _rejected(cache)

    def compare(self, batch: Sequence[Original]) -> None:
        """Compare some samples of the source; their indexes are fetched together."""
        by_key = {one.key: one for one in batch}
        originals = list(by_key.values())
        numbers, positions = self._lookup.match([key_bytes(one.key) for one in originals])
        self._seen[positions] = True
        visible = self._cache.visible
        absent = np.ones(len(originals), bool)
        absent[numbers] = False
        for number in np.flatnonzero(absent).tolist():
            one = originals[number]
            if not {one.key, one.name} & self._rejected:
                self._add("absent", one.name, "the source has this sample, the dataset does not; append it", one.key)
        for number, position, location in zip(
            numbers.tolist(), positions.tolist(), self._locate(positions), strict=True
        ):
            if visible is None or visible.holds(position):
                self._compare(originals[number], location)

    def _compare(self, one: Original, location: SampleLocation) -> None:
        if one.problem:
            self._add("unreadable", one.name, f"{one.problem}; make it readable", one.key)
            return
        stored = {name: (field.size, field.crc32c) for name, field in location.fields.items()}
        for name in sorted({*stored, *one.fields}):
            expected, got = one.fields.get(name), stored.get(name)
            if expected is None or got is None:
                what = f"field {name!r} is only in the {'source' if got is None else 'dataset'}"
            elif got[0] != expected[0] or got[1] not in (None, expected[1]):
                what = f"field {name!r} differs from the source: expected {_shown(*expected)}, got {_shown(*got)}"
            else:
                continue
            replace = 'replace it with "shardpack append --on-duplicate replace"'
            self._add("different", location.shard, f"{what}; {replace}", one.key)
            return

    def problems(self) -> list[Problem]:
        """Return the problems, a few of each kind, and how many more there are."""
        visible = self._cache.visible
        if visible is not None:
            self._seen[visible.deleted] = True
        extra = np.flatnonzero(~self._seen)
        for position, location in zip(extra[:SHOWN].tolist(), self._locate(extra[:SHOWN]), strict=True):
            key = self._cache.at(position).keys.text_at(position)
            what = "the dataset has this sample, the source does not; compare it with all that was packed, or delete it"
            self._add("extra", location.shard, what, key)
        self._counts["extra"] = len(extra)
        found: list[Problem] = []
        for kind in sorted(self._found, key=list(KINDS).index):
            problems = self._found[kind]
            found += problems
            if (more := self._counts[kind] - len(problems)) > 0:
                found.append(Problem(kind, self._cache.stores.location, f"{more:,} more samples like these"))
        return found

    def _add(self, kind: str, path: str, message: str, key: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        problems = self._found.setdefault(kind, [])
        if len(problems) < SHOWN:
            problems.append(Problem(kind, path, message, key))

    def _locate(self, positions: Any) -> Iterable[SampleLocation]:
        """Return where samples of the shards are stored, at ascending positions."""
        located: list[SampleLocation] = []
        for shard, own in opened_shards(self._cache, positions):
            located += (shard.locate(position - shard.first) for position in positions[own].tolist())
        return located


def _shown(size: int, checksum: int | None) -> str:
    return f"{size} bytes" if checksum is None else f"{size} bytes with CRC32C {checksum:08x}"


def _rejected(cache: ShardCache) -> set[str]:
    """Return the names of samples that were left out while the dataset was packed."""
    names: set[str] = set()
    if cache.manifest.option("on_error") == "skip":
        with suppress(ShardNotFoundError, ObjectTooLargeError):
            for line in bytes(cache.stores.sidecars.get(REJECTED_PATH, max_bytes=MAX_REJECTED_BYTES)).splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    names.add(str(json.loads(line)["name"]))
    return names
