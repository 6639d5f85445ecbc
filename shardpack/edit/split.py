"""Give a dataset named splits: drawn by fractions, as lists of keys say, or by a value of the labels.

    visible samples --draw, lists, values--> number of each one's split --> ranges of stored positions --> manifest

Shards do not change, and no payload is read but the labels that decide.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from xxhash import xxh3_64_hexdigest

from shardpack.edit.base import EditBase, open_base
from shardpack.edit.find_keys import visible_positions
from shardpack.edit.report import EditReport
from shardpack.edit.split_numbers import (
    Fractions,
    Lists,
    by_column,
    by_fractions,
    by_lists,
    check_names,
    listed_keys,
    parse_fractions,
)
from shardpack.edit.table_upkeep import next_with_table
from shardpack.errors import OptionError, OutputExistsError
from shardpack.format.manifest import AppendedSplits, Manifest
from shardpack.format.next_generation import next_generation
from shardpack.format.splits import Splits
from shardpack.order.split_draw import NONE, hash_ranges
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.storage.open import Writable


@dataclass(frozen=True, slots=True)
class SplitReport(EditReport):
    """What `split` did, or would do; `changed` is the number of samples in a split.

    Attributes:
        splits: Name of each split -> number of its samples.
    """

    splits: Mapping[str, int] = field(default_factory=dict)


def split(
    dataset: Writable,
    fraction: Fractions | None = None,
    *,
    lists: Lists | None = None,
    from_column: str | None = None,
    stratify: str | None = None,
    seed: int = 0,
    force: bool = False,
    dry_run: bool = False,
    single_writer: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
) -> SplitReport:
    """Give a dataset named splits, as its next generation; return how many samples are in each.

    By fractions they are exact, the same on every machine, and stay: samples that are appended later fall into them by
    the hash of their key, in the same proportion. With lists or a column, appended samples are in no split.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        fraction: Name of each split -> its part of the samples, such as 0.9 or "1/3". If they add up to less than 1,
            the rest is in no split.
        lists: Name of each split -> its keys, or a file with a key a line. Other samples are in no split.
        from_column: Name of the value in the labels, or of the field, that names the split of each sample.
        stratify: With fractions: name of the value, such as "class", of which each split gets its part.
        seed: With fractions: any integer; another one draws other samples.
        force: Replace the splits that the dataset has.
        dry_run: Return what would be done, but write nothing.
        single_writer: Promise that nobody else edits the dataset meanwhile; for stores that cannot create an object
            only if it is absent.
        storage_options, allow_locations: As `open` takes them.
        progress: Called as progress("read", "find" or "table", samples done, total).
        announce: Called with a line if the label table is dropped, because pyarrow is not installed.

    Raises:
        OutputExistsError: The dataset has splits and `force` is off, or another edit came first.
        UnknownKeyError: A list names keys that are not there.
        OptionError: Options contradict each other, a fraction or name is wrong, or no label has the value.
        SourceError: A list cannot be read, or a key is in two.
    """
    began = time.perf_counter()
    _check_options(fraction, lists, from_column, stratify, seed=seed)
    fractions = None if fraction is None else parse_fractions(fraction)
    keys = None
    if lists is not None:
        check_names(lists)
        keys = {name: listed_keys(name, listed) for name, listed in lists.items()}
    plan = _Plan(fractions, keys, from_column, stratify, as_integer("seed", seed), force)
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)
    if dry_run:
        splits = plan.splits_of(base, progress)
        return _report(base, base.manifest, splits.counts(), began, dry_run=True)
    with base.begin("split", run_digest=plan.digest(), single_writer=single_writer) as transaction:
        parent = transaction.parent
        if transaction.complete:
            assert parent.splits is not None
            return _report(base, parent, parent.splits.samples, began, generation=parent.generation)
        base = base.of(transaction)
        splits = plan.splits_of(base, progress)
        edit = {"command": "split", "changed": sum(splits.counts().values())}
        make = partial(next_generation, base.manifest, base.text, splits=splits, edit=edit)
        manifest, files = next_with_table(base, transaction, make, announce=announce, progress=progress)
        transaction.commit(manifest, files)
    return _report(base, manifest, splits.counts(), began, generation=manifest.generation)


def _check_options(fraction: object, lists: object, from_column: object, stratify: object, *, seed: int) -> None:
    given = [value for value in (fraction, lists, from_column) if value is not None]
    if len(given) != 1:
        raise OptionError(
            "name one of fraction (--fraction), lists (--list) and from_column (--from-column), which say what is in "
            "which split"
        )
    if fraction is None and (stratify is not None or seed):
        raise OptionError("stratify and seed are for fractions; leave them out")
    for name, value in (("from_column", from_column), ("stratify", stratify)):
        if not isinstance(value, str | None):
            raise OptionError(f"{name} is {value!r:.60}; expected the name of a value in the labels, such as 'class'")
    if lists is not None and not (isinstance(lists, Mapping) and lists):
        raise OptionError(f'lists are {lists!r:.60}; expected a dict such as {{"val": "val.txt"}}')


@dataclass(frozen=True, slots=True)
class _Plan:
    """What was asked for."""

    fractions: Mapping[str, Fraction] | None
    lists: Mapping[str, Sequence[str]] | None
    column: str | None
    stratify: str | None
    seed: int
    force: bool

    def digest(self) -> str:
        """Return a text that differs where other splits would come out."""
        fractions = None if self.fractions is None else {name: str(part) for name, part in self.fractions.items()}
        asked = [fractions, self.lists, self.column, self.stratify, self.seed, self.force]
        return xxh3_64_hexdigest(json.dumps(asked).encode())

    def splits_of(self, base: EditBase, progress: Progress) -> Splits:
        """Return the splits of a dataset.

        Raises:
            OutputExistsError: It has splits already.
        """
        if base.manifest.splits is not None and not self.force:
            there = ", ".join(base.manifest.splits.samples)
            raise OutputExistsError(
                f"the dataset in {base.location!r} already has splits ({there}); pass force=True (--force), which "
                "replaces them"
            )
        visible, appended = visible_positions(base), None
        if self.fractions is not None:
            names = list(self.fractions)
            drawn = by_fractions(
                base, visible, self.fractions, stratify=self.stratify, seed=self.seed, progress=progress
            )
            ranges = {name: (begin, end) for name, (begin, end) in hash_ranges(self.fractions).items() if begin < end}
            appended = AppendedSplits(base.manifest.num_samples, ranges)
        elif self.lists is not None:
            names, drawn = list(self.lists), by_lists(base, visible, self.lists, progress)
        else:
            assert self.column is not None
            names, drawn = by_column(base, visible, self.column, progress)
        numbers = np.full(base.manifest.num_samples, NONE, np.int64)
        numbers[visible] = drawn
        splits = Splits.of_numbers(names, numbers, appended=appended)
        if appended is None and not splits.names:
            raise OptionError("no sample would be in a split; there is nothing to store")
        return splits


def _report(
    base: EditBase,
    manifest: Manifest,
    counts: Mapping[str, int],
    began: float,
    *,
    generation: int | None = None,
    dry_run: bool = False,
) -> SplitReport:
    made = manifest.generation + 1 if generation is None else generation
    return SplitReport(
        command="split",
        location=base.location,
        generation=made,
        parent=made - 1,
        num_samples=manifest.num_visible,
        changed=sum(counts.values()),
        seconds=time.perf_counter() - began,
        dry_run=dry_run,
        splits=dict(counts),
    )
