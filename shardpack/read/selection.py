"""The samples of a dataset or view, and the translation of users' positions and keys into stored positions.

12, -1, "key", lists, arrays --`resolve`--> stored positions --`read_many`--> samples
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import chain
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from shardpack.errors import FieldNotFoundError, OptionError, PositionError, UnknownKeyError
from shardpack.format.splits import NO_SPLIT
from shardpack.order.positions import Positions, compact, compact_runs, part_of
from shardpack.order.runs import Runs
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.layered_locations import Elsewhere, locate_rows
from shardpack.read.named_splits import NamedSplits
from shardpack.read.opened_shards import opened_shards
from shardpack.read.sample import SampleLocation
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arguments import as_names, integer_or_none
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

SHARDS_AT_ONCE = 64  # shards whose indexes are fetched together when going through all samples


class Selection:
    """Samples of a dataset, in order. Safe in threads; immutable.

    Attributes:
        cache: Opens the shards.
        lookup: Finds keys, in the whole dataset.
        positions: The stored positions of a view; None for all samples that are visible.
    """

    def __init__(self, cache: ShardCache, lookup: KeyLookup, positions: Positions | None = None) -> None:
        self.cache, self.lookup, self.positions = cache, lookup, positions

    @property
    def num_visible(self) -> int:
        """Number of samples in the whole dataset."""
        return self.cache.manifest.num_visible

    def __len__(self) -> int:
        return self.num_visible if self.positions is None else len(self.positions)

    @cached_property
    def stored_positions(self) -> Positions | None:
        """The stored position of each sample; None if they are the samples' numbers, as nothing is left out."""
        return self.cache.visible if self.positions is None else self.positions

    @cached_property
    def own(self) -> Positions:
        """The stored position of each sample."""
        stored = self.stored_positions
        return Runs.of_range(range(self.num_visible)) if stored is None else stored

    def select(self, items: Iterable[int | str]) -> Selection:
        """Return some of these samples, in the order given; all samples in stored order are the dataset itself."""
        if isinstance(items, range):
            return self._of(part_of(self.own, self._checked_range(items)))
        return self._of(compact(self.resolve(items)))

    def _of(self, positions: Positions) -> Selection:
        is_everything = len(positions) == self.num_visible and positions.is_ascending()
        return Selection(self.cache, self.lookup, None if is_everything else positions)

    def _checked_range(self, items: range) -> range:
        """Return the same items, counted from the start."""
        for end in (items[0], items[-1]) if items else ():
            self.position(end)
        if items and min(items[0], items[-1]) < 0:
            if items[0] >= 0 or items[-1] >= 0:  # wraps around, so it is not a range
                raise OptionError(f"{items!r} counts from both ends; write a list of positions")
            return range(items.start + len(self), items.stop + len(self), items.step)
        return items

    # Splits

    def splits(self) -> dict[str, int]:
        """Return the number of these samples in each split. Of a view, or where samples are deleted, it costs reads."""
        manifest = self.cache.manifest
        if self.positions is None and (manifest.splits is None or not manifest.deleted):
            return {} if manifest.splits is None else manifest.splits.totals
        if (splits := self.cache.splits) is None:
            return {}
        if self.positions is not None:
            return {name: count for name, count in _counts(splits, self.own.pieces()).items() if count}
        assert manifest.splits is not None
        visible = self.cache.visible
        hidden = {} if visible is None else _counts(splits, [visible.deleted])
        return {name: count - hidden.get(name, 0) for name, count in manifest.splits.totals.items()}

    def of_split(self, name: str) -> Selection:
        """Return the samples of one split, in the order of this selection. Costs the file of splits, once.

        Where samples were appended after the splits were made, it also costs the key index of those.

        Raises:
            OptionError: No split has this name.
        """
        splits = self.cache.splits
        if splits is None:
            raise OptionError(f"the dataset has no splits, so none is called {name!r}; stream all of it")
        if name not in splits.names:
            raise OptionError(f"no split {name!r}; the dataset has: {', '.join(splits.names)}")
        if self.positions is None:
            own, visible = splits.positions(name), self.cache.visible
            return self._of(compact_runs(own if visible is None else visible.keep(own)))
        number = splits.names.index(name)
        kept = [piece[splits.numbers(piece) == number] for piece in self.positions.pieces()]
        return self._of(compact(np.concatenate([np.zeros(0, np.int64), *kept])))

    def among(self, stored: Integers) -> Selection:
        """Return those of these samples that are at some stored positions, in the order of this selection."""
        if self.positions is None:
            ascending, visible = np.sort(stored), self.cache.visible
            return self._of(compact(ascending if visible is None else visible.only(ascending)))
        chosen = np.zeros(self.cache.manifest.num_samples, bool)
        chosen[stored] = True
        kept = [piece[chosen[piece]] for piece in self.own.pieces()]
        return self._of(compact(np.concatenate([np.zeros(0, np.int64), *kept])))

    def split_numbers(self) -> npt.NDArray[np.uint16] | None:
        """Return (n) the number of the split that each sample is in, or `NO_SPLIT`; None if there are no splits."""
        if (splits := self.cache.splits) is None:
            return None
        return np.concatenate([np.zeros(0, np.uint16), *map(splits.numbers, self.own.pieces())])

    # From users' positions and keys to stored positions

    def position(self, item: Any) -> int:
        """Return the stored position of a position in this selection, which may count from the end.

        Raises:
            OptionError: `item` is not an integer.
            PositionError: The position is out of range.
        """
        number = integer_or_none(item)
        if number is None:
            raise OptionError(
                f"a sample is asked for by position (int) or key (str), got {type(item).__name__}; "
                'write ds[12] or ds["key"]'
            )
        size = len(self)
        if not -size <= number < size:
            raise self._out_of_range(number)
        number += size if number < 0 else 0
        stored = self.stored_positions
        return number if stored is None else stored[number]

    def shown(self, stored: int) -> int:
        """Return what users know a stored position as: the position in the whole dataset."""
        visible = self.cache.visible
        return stored if visible is None else visible.position_of(stored)

    def resolve_key(self, key: str, matches: list[int] | None = None) -> int:
        """Return the stored position of a key.

        Args:
            key: The key.
            matches: The result of `KeyLookup.find_all` for this key, if it is known already.

        Raises:
            UnknownKeyError: No sample of this selection has this key.
            DuplicateKeyError: Several samples of it have this key, in a dataset that another tool wrote.
        """
        if self.positions is None:
            return self.lookup.find(key) if matches is None else self.lookup.only_match(key, matches)
        matches = self._held(self.lookup.find_all(key) if matches is None else matches)
        if not matches:
            raise UnknownKeyError(f"no such key in this view: {key!r}")
        return self.lookup.only_match(key, matches)

    def has_key(self, key: str) -> bool:
        """Return whether a sample of this selection has a key."""
        return bool(self._held(self.lookup.find_all(key)))

    def _held(self, found: list[int]) -> list[int]:
        """Return which of some visible stored positions are in this selection."""
        return found if self.positions is None else list(filter(self.positions.holds, found))

    def resolve(self, items: Iterable[int | str]) -> Integers:
        """Return the stored positions of positions in this selection and of keys; keys are looked up together.

        Raises:
            OptionError: `items` is not a list of positions and keys.
            PositionError: A position is out of range.
            UnknownKeyError: No sample of this selection has one of the keys.
            DuplicateKeyError: Several samples of it have one of the keys.
        """
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise OptionError(f"expected a list of positions and keys, got {items!r}; write [{items!r}]")
        if isinstance(items, np.ndarray) and items.dtype.kind in "iu" and items.dtype != np.uint64:
            return self._stored_at(items.astype(np.int64).reshape(-1))
        listed: list[Any] = items.reshape(-1).tolist() if isinstance(items, np.ndarray) else list(items)
        if set(map(type, listed)) - {int}:
            return self._resolve_each(listed)
        try:
            numbers = np.array(listed, np.int64)
        except OverflowError:
            raise self._out_of_range(max(listed, key=abs)) from None
        return self._stored_at(numbers)

    def _resolve_each(self, items: list[Any]) -> Integers:
        """Return the stored positions of positions and keys, one by one; the keys are looked up before."""
        matches = self.lookup.find_many(item for item in items if isinstance(item, str))
        resolved = [
            self.resolve_key(item, matches.get(item)) if isinstance(item, str) else self.position(item)
            for item in items
        ]
        return np.array(resolved, np.int64)

    def _stored_at(self, numbers: Integers) -> Integers:
        """Return the stored positions of positions in this selection; negative ones count from its end."""
        size = len(self)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < size):
            wrong = (numbers < -size) | (numbers >= size)
            if wrong.any():
                raise self._out_of_range(int(numbers[wrong][0]))
            numbers = np.where(numbers < 0, numbers + size, numbers)
        stored = self.stored_positions
        return numbers if stored is None else stored.at(numbers)

    def plain(self, items: Iterable[int | str]) -> tuple[list[int], Integers] | None:
        """Return the stored positions of items, as a list and an array, if these are plain positions, else None."""
        if self.positions is None and isinstance(items, (list, tuple, range)) and set(map(type, items)) == {int}:
            wanted = cast("list[int]", list(items))
            with suppress(OverflowError):
                positions = np.frombuffer(array("q", wanted), np.int64)  # three times as fast as from a list
                if positions.min() >= 0 and positions.max() < self.num_visible:
                    if (visible := self.cache.visible) is None:
                        return wanted, positions
                    stored = visible.at(positions)
                    return stored.tolist(), stored
        return None

    def _out_of_range(self, position: int) -> PositionError:
        what = "dataset" if self.positions is None else "view"
        size = len(self)
        ask = f"ask for {-size} to {size - 1}" if size else "select some"
        return PositionError(f"position {position} is out of range: the {what} has {size} samples; {ask}")

    def check_fields(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Return the wanted fields, sorted.

        Raises:
            OptionError: `fields` is not a list of texts.
            FieldNotFoundError: No sample of the dataset has one of the fields.
        """
        wanted, existing = as_names("fields", fields), self.cache.manifest.fields
        for field in wanted:
            if field not in existing:
                raise FieldNotFoundError(f"no field {field!r}; the dataset has: {', '.join(existing) or 'none'}")
        return tuple(sorted(wanted))

    def shard_numbers(self) -> list[int]:
        """Return the numbers of the shards that hold these samples, ascending."""
        shard_list, stored = self.cache.shard_list, self.stored_positions
        if stored is None:
            return list(range(len(shard_list)))
        return sorted(
            {number for piece in stored.pieces() for number in np.unique(shard_list.locate_many(piece)).tolist()}
        )

    # From the indexes

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Reads the index of each shard, many at once, and no payload."""
        for shard, rows in self._rows():
            if len(rows) == len(shard) and self.stored_positions is None:
                yield from shard.index.keys()
            else:
                yield from (shard.keys.text_at(shard.first + row) for row in rows.tolist())

    def locations(self) -> Iterator[SampleLocation]:
        """Yield where each sample is stored, in order. Costs as much as `keys`."""
        for shard, rows in self._rows():
            for located, _ in locate_rows(self.cache, shard, rows):
                yield located

    def stored(self) -> Iterator[tuple[Store, SampleLocation, Elsewhere]]:
        """Yield each sample's store, where it is stored, and which fields are elsewhere. Costs as much as `keys`."""
        for shard, rows in self._rows():
            for located, elsewhere in locate_rows(self.cache, shard, rows):
                yield shard.store, located, elsewhere

    def locate(self, positions: Integers) -> list[SampleLocation]:
        """Return where samples at stored positions are stored; indexes are fetched together, as many as may be open."""
        order = np.argsort(positions, kind="stable")
        ascending = positions[order]
        located: dict[int, SampleLocation] = {}
        for shard, own in opened_shards(self.cache, ascending):
            rows = locate_rows(self.cache, shard, ascending[own] - shard.first)
            located.update(zip(order[own].tolist(), (one for one, _ in rows), strict=True))
        return [located[at] for at in range(len(positions))]

    def _rows(self) -> Iterator[tuple[ShardReader, Integers]]:
        waiting: list[tuple[int, Integers]] = []
        rows, stored = self.cache.shard_list.rows, self.stored_positions
        for run in rows(None) if stored is None else chain.from_iterable(map(rows, stored.pieces())):
            waiting.append(run)
            if len(waiting) == SHARDS_AT_ONCE:
                yield from self._opened(waiting)
                waiting = []
        yield from self._opened(waiting)

    def _opened(self, runs: list[tuple[int, Integers]]) -> Iterator[tuple[ShardReader, Integers]]:
        shards = self.cache.load(number for number, _ in runs)
        return zip(shards, (rows for _, rows in runs), strict=True)


def _counts(splits: NamedSplits, pieces: Iterable[Integers]) -> dict[str, int]:
    """Return how many of some stored positions are in each split."""
    counts = np.zeros(NO_SPLIT + 1, np.int64)
    for piece in pieces:
        counts += np.bincount(splits.numbers(piece), minlength=NO_SPLIT + 1)
    return dict(zip(splits.names, counts.tolist(), strict=False))
