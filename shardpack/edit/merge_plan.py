"""What several datasets are as one: shards, keys, deleted samples, classes and splits, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.edit.label_values import other_label_field
from shardpack.errors import DuplicateKeyError, OptionError
from shardpack.format.assemble import recorded_options
from shardpack.format.key_index import KeySegmentReader
from shardpack.format.manifest import AppendedSplits, Manifest
from shardpack.format.naming import key_text
from shardpack.format.split_names import in_split_order
from shardpack.format.splits import NO_SPLIT, Splits
from shardpack.read.segment_file import SegmentFile
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.sources.class_numbers import ClassNumbers, is_label_field
from shardpack.storage.locations import LocationOptions

_SHOWN = 3
_RENUMBER = "pass reconcile=True (--reconcile) to renumber labels"
_NOT_KEPT = frozenset(("indexed", "layout", "split", "shuffle_seed"))  # what is said of how one of them was packed


@dataclass(frozen=True, slots=True, eq=False)
class MergeInput:
    """A dataset that becomes part of another one.

    Attributes:
        location: Folder or URL, for messages.
        cache: Its shards.
        options: How its tars and layers in other places are reached.
    """

    location: str
    cache: ShardCache
    options: LocationOptions

    @property
    def manifest(self) -> Manifest:
        """Its manifest."""
        return self.cache.manifest

    @property
    def has_labels(self) -> bool:
        """Whether its samples may hold numbers of classes."""
        return any(map(is_label_field, self.manifest.fields))

    def hashes(self) -> npt.NDArray[np.uint64]:
        """Return the hashes of all keys, in the order of stored positions."""
        found = [np.zeros(0, np.uint64)]
        for segment in self.manifest.key_segments:
            file = SegmentFile(self.cache.stores.sidecars, segment)
            found.append(KeySegmentReader(file.load, segment, path=file.path).hashes())
        return np.concatenate(found)

    def deleted(self) -> Integers:
        """Return the stored positions of deleted samples, ascending."""
        visible = self.cache.visible
        return np.zeros(0, np.int64) if visible is None else visible.deleted

    def key(self, position: int) -> bytes:
        """Return the key of the sample at a stored position."""
        return bytes(self.cache.at(position).keys.key_at(position))


class MergePlan:
    """Datasets, one behind the other."""

    def __init__(self, inputs: Sequence[MergeInput], *, reconcile: bool = False) -> None:
        self.inputs = inputs
        self._reconciles = reconcile
        self._first = np.concatenate([[0], np.cumsum([each.manifest.num_samples for each in inputs])]).astype(np.int64)

    def placed(self) -> Iterator[tuple[MergeInput, int]]:
        """Yield the datasets, each with the stored position that its first sample gets."""
        yield from zip(self.inputs, self._first[:-1].tolist(), strict=True)

    @cached_property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """Hashes of all keys, in order."""
        return np.concatenate([np.zeros(0, np.uint64), *(each.hashes() for each in self.inputs)])

    @cached_property
    def deleted(self) -> Integers:
        """Stored positions of deleted samples, ascending."""
        parts = [each.deleted() + first for each, first in self.placed()]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    @property
    def unique_keys(self) -> bool:
        """Whether each key names one sample."""
        return all(each.manifest.unique_keys for each in self.inputs)

    def check(self) -> None:
        """Raise unless the datasets can be one.

        Raises:
            OptionError: Their classes, splits or fields of labels do not fit together.
            DuplicateKeyError: Two of them have a key.
        """
        _ = self.classes, self.splits  # which raise
        self._refuse_other_labels()
        self._refuse_duplicates()

    def _refuse_other_labels(self) -> None:
        known: set[str] = set()
        for each in self.inputs:
            if found := other_label_field(known, each.manifest.fields):
                raise OptionError(
                    f"the dataset in {each.location!r} has labels in {found[0]!r}, and another one in {found[1]!r}; "
                    "pack one of them again so that both are called alike, or leave it out"
                )
            known.update(each.manifest.fields)

    # Keys

    def _refuse_duplicates(self) -> None:
        shown = np.ones(len(self.hashes), bool)
        shown[self.deleted] = False
        visible = np.flatnonzero(shown)
        order = visible[np.argsort(self.hashes[visible], kind="stable")]
        same = np.flatnonzero(self.hashes[order[1:]] == self.hashes[order[:-1]])
        for at in same.tolist():
            if (found := self._equal_key(int(order[at]), int(order[at + 1]))) is None:
                continue
            key, one, other = found
            more = f", as with {len(same) - 1:,} more" if len(same) > 1 else ""
            raise DuplicateKeyError(
                f"{one!r} and {other!r} both have a sample with the key {key!r}{more}; delete them from one "
                '("shardpack delete"), or append one to the other with on_duplicate="replace" '
                "(shardpack append --on-duplicate replace)",
                key=key,
            )

    def _equal_key(self, one: int, other: int) -> tuple[str, str, str] | None:
        """Return (key, location, location) of two samples with one key; None for those of a dataset that repeats keys.

        They have one hash.
        """
        places = [self._place(position) for position in (one, other)]
        (first, at), (second, behind) = places
        if first is second and not first.manifest.unique_keys:
            return None
        key = first.key(at)
        return (key_text(key), first.location, second.location) if key == second.key(behind) else None

    def _place(self, position: int) -> tuple[MergeInput, int]:
        number = int(np.searchsorted(self._first, position, side="right")) - 1
        return self.inputs[number], position - int(self._first[number])

    # Classes and splits

    @cached_property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in label order: the longest list, with which all others begin; or all lists joined.

        Raises:
            OptionError: Two datasets number their classes differently, or one does not say what its numbers mean.
        """
        lists = [each.manifest.classes for each in self.inputs]
        longest: tuple[str, ...] | None = max((names for names in lists if names is not None), key=len, default=None)
        for each, names in zip(self.inputs, lists, strict=True):
            if longest is None or not each.has_labels:
                continue
            if names and (self._reconciles or names == longest[: len(names)]):
                continue
            said = f"({_shown(names)})" if names else "without a class list"
            raise OptionError(
                f"{each.location!r} numbers its classes {said} differently from the others ({_shown(longest)}); "
                + (_RENUMBER if names else f'say what they are: "shardpack append {each.location} DS --classes NAMES"')
            )
        if longest is None or not self._reconciles:
            return longest
        return tuple(dict.fromkeys(name for names in lists for name in names or ()))

    def renumbered(self) -> Iterator[tuple[MergeInput, int, ClassNumbers]]:
        """Yield the datasets whose labels need other numbers, each with its first position and the numbers."""
        for each, first in self.placed():
            if each.has_labels and each.manifest.classes is not None:
                numbers = ClassNumbers.of(self.classes or (), each.manifest.classes)
                if not numbers.changes_nothing:
                    yield each, first, numbers

    @cached_property
    def splits(self) -> Splits | None:
        """The named splits; those of one name are one. Samples that fell into one by their hash stay there.

        Raises:
            OptionError: One dataset has splits, and another one has none.
        """
        found = [each.cache.splits for each in self.inputs]
        with_splits = [each for each, splits in zip(self.inputs, found, strict=True) if splits is not None]
        if not with_splits:
            return None
        for each, splits in zip(self.inputs, found, strict=True):
            if splits is None and each.manifest.num_visible:
                raise OptionError(
                    f"{with_splits[0].location!r} has splits, and {each.location!r} has none; give it some first: "
                    f'"shardpack split {each.location} --fraction train=1"'
                )
        names = in_split_order({name for splits in found if splits is not None for name in splits.names})
        numbers = np.full(int(self._first[-1]), NO_SPLIT, np.uint16)
        for splits, first, end in zip(found, self._first[:-1].tolist(), self._first[1:].tolist(), strict=True):
            if splits is not None and end > first:
                of_name = np.array([*map(names.index, splits.names), NO_SPLIT], np.uint16)
                own = splits.numbers(np.arange(end - first))
                numbers[first:end] = of_name[np.minimum(own, len(splits.names))]
        return _as_ranges(tuple(names), numbers, self._appended(names))

    def _appended(self, names: Sequence[str]) -> AppendedSplits | None:
        """Return how samples that are appended later fall into splits: as in all datasets, if that is alike."""
        files = [each.manifest.splits for each in self.inputs if each.manifest.splits is not None]
        ranges = [None if file.appended is None else dict(file.appended.ranges) for file in files]
        if ranges[0] is None or any(other != ranges[0] for other in ranges) or not ranges[0].keys() <= set(names):
            return None
        return AppendedSplits(int(self._first[-1]), ranges[0])

    def packed_with(self) -> dict[str, Any]:
        """Return what the manifest says of how they were packed: what is alike in all."""
        options = [dict(each.manifest.packed_with.get("options", {})) for each in self.inputs]
        common = {
            name: value
            for name, value in options[0].items()
            if name not in _NOT_KEPT and all(name in other and other[name] == value for other in options[1:])
        }
        return recorded_options(**common, merged=len(self.inputs))


def _as_ranges(
    names: tuple[str, ...], numbers: npt.NDArray[np.uint16], appended: AppendedSplits | None
) -> Splits | None:
    if not len(numbers):
        return None
    edges = np.flatnonzero(np.diff(numbers)) + 1
    begin, end = np.concatenate([[0], edges]), np.concatenate([edges, [len(numbers)]])
    inside = numbers[begin] != NO_SPLIT
    return Splits(names, begin[inside], end[inside], numbers[begin[inside]], appended)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")
