"""Samples of LMDB databases: the entries that belong together, and runs of neighbouring samples."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

from shardpack.errors import SourceError
from shardpack.format.naming import split_name
from shardpack.sources.formats.found_files import FoundFiles
from shardpack.sources.formats.lmdb_file import databases, entries, opened, value_of
from shardpack.sources.formats.lmdb_layout import NOTES, Run, shape_of
from shardpack.sources.formats.split_names import KNOWN
from shardpack.sources.row_source import Unit

VALUE = ""  # under which the only value of a sample is found
MAPPED_BYTES = 64 << 20
_RUN = 16_384  # samples of a unit
_WORD = re.compile(r"[A-Za-z]+")
_SHOWN = 3

Found = tuple[bytes, str, Mapping[str, Any]]  # first entry of a sample, its key, and its values by field or prefix


def find_runs(found: FoundFiles, name: str) -> Iterator[tuple[Run, Unit]]:
    """Yield the runs of an environment, and what a source says of them; walks over all keys.

    Raises:
        SourceError: The file is damaged, or holds several databases that are no splits.
    """
    with opened(found, name) as environment:
        named = {database: database.decode("utf-8", "replace") for database in databases(environment)}
    strange = [text for text in named.values() if split_in(text) is None]
    if strange:
        raise SourceError(
            f"{name} holds several databases ({', '.join(strange[:_SHOWN])}), which are no splits; "
            "copy each to a file of its own"
        )
    for database in (*named,) or (None,):
        text = "" if database is None else f", database {named[database]!r}"
        split = split_in(name if database is None else named[database])
        with closing(all_samples(found, Run(name, database, "entries"))) as samples:
            whole = Run(name, database, *shape_of(entry for entry, _, _ in samples))
        for run, count, num_bytes in _runs_of(found, whole):
            yield run, Unit(f"{name}{text}, keys from {run.first!r}", count, num_bytes, split)


def split_in(name: str) -> str | None:
    """Return the split that a path or the name of a database tells: train_lmdb/data.mdb, val.lmdb."""
    words = dict.fromkeys(word for word in _WORD.findall(name) if word.lower() in KNOWN)
    return next(iter(words)) if len(words) == 1 else None


def _runs_of(found: FoundFiles, whole: Run) -> Iterator[tuple[Run, int, int]]:
    samples = all_samples(found, whole)
    for first, _, values in samples:
        count, num_bytes = 1, sum(map(len, values.values()))
        for _, _, more in islice(samples, _RUN - 1):
            count, num_bytes = count + 1, num_bytes + sum(map(len, more.values()))
        yield replace(whole, first=first), count, num_bytes


def all_samples(found: FoundFiles, run: Run, *, mapped_bytes: int = MAPPED_BYTES) -> Generator[Found, None, None]:
    """Yield the samples of a database as `read_samples` does. Close it: LMDB opens a file only once in a process.

    Even to walk over entries brings pages of their values into this process, and they stay while the file is mapped. So
    it is mapped anew after `mapped_bytes` of values.
    """
    while True:
        held = 0
        with opened(found, run.file) as environment:
            for entry, key, values in read_samples(environment, run):
                if held > mapped_bytes:
                    run = replace(run, first=entry)
                    break
                yield entry, key, values
                held += sum(map(len, values.values()))
            else:
                return


def read_samples(environment: Any, run: Run) -> Iterator[Found]:
    """Yield the samples of a database from a run's first entry on; values are valid until the next sample is asked for.

    Raises:
        SourceError: A numbered entry lacks one that belongs to it.
        Exception: lmdb raised an error of its own, for damaged files.
    """
    found = ((key, value) for key, value in entries(environment, run.database, run.first) if key not in NOTES)
    if run.shape == "entries":
        for key, value in found:
            yield key, key.decode("utf-8", "surrogateescape"), {VALUE: value}
    elif run.shape == "numbered":
        yield from _numbered(environment, run, found)
    else:
        yield from _with_fields(found)


def _with_fields(found: Iterator[tuple[bytes, Any]]) -> Iterator[Found]:
    first, sample = b"", ""
    values: dict[str, Any] = {}
    for key, value in found:
        text = key.decode("utf-8", "surrogateescape")
        name, field = split_name(text) or (text, VALUE)
        if values and name != sample:
            yield first, sample, values
            values = {}
        if not values:
            first, sample = key, name
        values[field] = value
    if values:
        yield first, sample, values


def _numbered(environment: Any, run: Run, found: Iterator[tuple[bytes, Any]]) -> Iterator[Found]:
    leading, *others = run.prefixes
    for key, value in found:
        prefix, _, number = key.rpartition(b"-")
        if prefix != leading:
            return
        values = {leading.decode(): value}
        for other in others:
            entry = b"%s-%s" % (other, number)
            values[other.decode()] = beside = value_of(environment, run.database, entry)
            if beside is None:
                raise SourceError(f"{run.file} has {key!r} but no {entry!r}; add it, or remove the other")
        yield key, number.decode(), values
