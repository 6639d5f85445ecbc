"""Find out what an export would hold, from the indexes alone: counts, lengths, splits, keys that repeat."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_intdigest, xxh3_128

from shardpack.codecs.field_types import IMAGE_EXTENSIONS
from shardpack.errors import DuplicateKeyError, FieldNotFoundError, OptionError
from shardpack.export.exporter import Contents, Exportable, Limits, NamedBy, Part
from shardpack.export.files import within_split
from shardpack.read.sample import SampleLocation
from shardpack.runtime.progress import Progress

_PROGRESS_SAMPLES = 10_000

Splits = tuple[tuple[str | None, Exportable], ...]


def survey(
    dataset: Exportable, fields: Sequence[str] | None, progress: Progress, *, named_by: NamedBy | None
) -> Contents:
    """Return what an export of a dataset or view would hold. Reads the index of each shard, and no payload.

    Args:
        dataset: The dataset or view.
        fields: The fields that are wanted; None for all.
        progress: Called as progress("survey", samples, total samples).
        named_by: What of two samples may not be the same; see `Exporter`.

    Raises:
        OptionError: There are no samples, or some are in no split.
        FieldNotFoundError: No sample of the dataset has one of the fields.
        DuplicateKeyError: Two samples have one key or path, or a view has a sample twice.
    """
    wanted = None if fields is None else frozenset(fields)
    existing = dataset.manifest.samples_per_field
    for field in sorted(wanted or ()):
        if field not in existing:
            raise FieldNotFoundError(f"no field {field!r}; the dataset has: {', '.join(existing) or 'none'}")
    total = len(dataset)
    if not total:
        raise OptionError("there are no samples to export; choose another view")
    counts: Counter[str] = Counter()
    sizes = np.empty(total, np.int64)
    names = np.empty(0 if named_by is None else total, np.uint64)
    digest = xxh3_128(f"{dataset.fingerprint} {fields and sorted(fields)}".encode())
    positions = np.empty(total, np.int64)
    splits = _splits_of(dataset)
    for number, (split, entry) in enumerate(_entries(splits)):
        counts.update(entry.fields.keys())
        sizes[number] = sum([at.size for name, at in entry.fields.items() if wanted is None or name in wanted])
        positions[number] = entry.position
        if named_by is not None:
            name = name_of(entry, split, named_by, wanted)
            names[number] = xxh3_64_intdigest(name.encode("utf-8", "surrogateescape"))
        if number % _PROGRESS_SAMPLES == 0:
            progress("survey", number, total)
    progress("survey", total, total)
    digest.update(positions.tobytes())
    if named_by is not None:
        _refuse_repeated(splits, names, named_by, wanted)
    chosen = {name: count for name, count in sorted(counts.items()) if wanted is None or name in wanted}
    left_out = {name: count for name, count in sorted(counts.items()) if name not in chosen}
    return Contents(dataset, chosen, left_out, sizes, splits, digest.hexdigest())


def _splits_of(dataset: Exportable) -> Splits:
    """Return the samples of each split.

    Raises:
        OptionError: There are splits, and some samples are in none of them.
    """
    counts = dict(dataset.splits)
    if not counts:
        return ((None, dataset),)
    if missing := len(dataset) - sum(counts.values()):
        raise OptionError(
            f"{missing:,} of {len(dataset):,} samples are in none of the splits {', '.join(counts)}; export one of "
            "them (--split), or ds.select(...) of the others"
        )
    return tuple((name, dataset.split(name)) for name in counts)


def _entries(splits: Splits) -> Iterator[tuple[str | None, SampleLocation]]:
    return ((split, entry) for split, samples in splits for entry in samples.entries())


def name_of(entry: SampleLocation, split: str | None, named_by: NamedBy, wanted: Collection[str] | None) -> str:
    """Return what a sample is called where it is written: its key, or its path in the folder of its split."""
    key = entry.key
    if named_by == "key":
        return key
    if named_by == "image":
        images = [name for name in entry.fields if name in IMAGE_EXTENSIONS and (wanted is None or name in wanted)]
        key = ".".join([key, *images])
    path = within_split([part for part in key.split("/") if part != "."] or [key], split)
    return "/".join(path if split is None else [split, *path])


def _refuse_repeated(
    splits: Splits, hashes: npt.NDArray[np.uint64], named_by: NamedBy, wanted: Collection[str] | None
) -> None:
    ordered = np.sort(hashes)
    suspects = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if not suspects:
        return
    key_of: dict[str, str] = {}
    for number, (split, entry) in enumerate(_entries(splits)):
        if int(hashes[number]) not in suspects:
            continue
        name = name_of(entry, split, named_by, wanted)
        if name not in key_of:
            key_of[name] = entry.key
        elif key_of[name] == entry.key:
            raise DuplicateKeyError(
                "two samples have this key, and this format names files by keys; export a view without one of them",
                key=entry.key,
            )
        else:
            raise DuplicateKeyError(
                f"the samples {key_of[name]!r} and {entry.key!r} would both be {name!r}; export a view without one of "
                "them, or pack the dataset again with keys that differ in more than './' or the name of their split"
            )


def cut(contents: Contents, limits: Limits) -> list[Part]:
    """Return the parts, in the order of the samples; none holds samples of two splits."""
    parts: list[Part] = []
    first = 0
    for split, samples in contents.splits:
        count = len(samples)
        bounds = _cuts(contents.num_bytes[first : first + count], limits)
        for index, (start, stop) in enumerate(pairwise(bounds)):
            num_bytes = int(contents.num_bytes[first + start : first + stop].sum())
            parts.append(Part(len(parts), split, index, len(bounds) - 1, first + start, stop - start, num_bytes))
        first += count
    return parts


def _cuts(sizes: npt.NDArray[np.int64], limits: Limits) -> list[int]:
    """Return the first sample of each part, and the number of samples."""
    ends = np.concatenate([[0], np.cumsum(sizes)])
    cuts = [0]
    while cuts[-1] < len(sizes):
        start = cuts[-1]
        stop = int(np.searchsorted(ends, ends[start] + limits.max_bytes, side="right")) - 1
        if limits.max_samples is not None:
            stop = min(stop, start + limits.max_samples)
        cuts.append(max(stop, start + 1))
    return cuts
