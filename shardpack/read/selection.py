"""Which samples of a dataset are meant: all of them or those of a view, and what users ask for as positions.

what users ask: 12, -1, "key", slices, arrays --`resolve`--> stored positions --`read_many`--> samples
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import Any, cast

import numpy as np

from shardpack.errors import FieldNotFoundError, OptionError, PositionError, UnknownKeyError
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.read_many import groups
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import SampleLocation, ShardReader
from shardpack.runtime.arguments import integer_or_none
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

SHARDS_AT_ONCE = 64  # whose indexes are fetched together where all of them are gone through


class Selection:
    """Samples of a dataset, in order. Safe in threads; immutable.

    Attributes:
        shards: Where samples are read.
        lookup: Finds keys, in the whole dataset.
        positions: Of a view: an array, or a range, which takes no memory; None for all samples.
    """

    def __init__(self, shards: ShardCache, lookup: KeyLookup, positions: Integers | range | None = None) -> None:
        self.shards, self.lookup, self.positions = shards, lookup, positions
        self.num_stored = shards.manifest.num_samples

    def __len__(self) -> int:
        return self.num_stored if self.positions is None else len(self.positions)

    @cached_property
    def array(self) -> Integers | None:
        """Positions of a view as an array; None for all samples."""
        if isinstance(self.positions, range):
            return np.arange(self.positions.start, self.positions.stop, self.positions.step, dtype=np.int64)
        return self.positions

    def select(self, items: Iterable[int | str]) -> Selection:
        """Return some of these samples, in the order given. All of them in order are the whole dataset again."""
        positions: Integers | range
        if isinstance(items, range) and (self.positions is None or isinstance(self.positions, range)):
            positions = self._checked_range(items)
            is_whole = positions == range(self.num_stored)
        else:
            positions = self.resolve(items)
            is_whole = len(positions) == self.num_stored and bool((positions == np.arange(self.num_stored)).all())
        return Selection(self.shards, self.lookup, None if is_whole else positions)

    def _checked_range(self, items: range) -> range:
        for end in (items[0], items[-1]) if items else ():
            self.position(end)
        if items and min(items[0], items[-1]) < 0:
            if items[0] >= 0 or items[-1] >= 0:  # wraps around: no range
                raise OptionError(f"{items!r} counts from both ends; write a list of positions")
            items = range(items.start + len(self), items.stop + len(self), items.step)
        whole = range(self.num_stored) if self.positions is None else self.positions
        assert isinstance(whole, range)
        return whole[items.start : items.stop if items.stop >= 0 else None : items.step] if items else range(0)

    # From what users ask to positions

    def position(self, item: Any) -> int:
        """Return the stored position of a position in this selection, which may count from the end.

        Raises:
            OptionError: It is no integer.
            PositionError: There is no such position.
        """
        number = integer_or_none(item)
        if number is None:
            raise OptionError(f"a sample is asked for by position (int) or key (str), got {type(item).__name__}")
        size = len(self)
        if not -size <= number < size:
            raise self._out_of_range(number)
        number += size if number < 0 else 0
        return number if self.positions is None else int(self.positions[number])

    def position_of(self, key: str, stored: list[int] | None = None) -> int:
        """Return the stored position of a key.

        Args:
            key: Of the sample.
            stored: All positions that have it in the whole dataset, where they are known already.

        Raises:
            UnknownKeyError: No sample of this selection has it.
            DuplicateKeyError: Several samples have it (only in datasets that others wrote).
        """
        if self.positions is None:
            return self.lookup.position(key, stored)
        stored = self.lookup.positions(key) if stored is None else stored
        found = [position for position in stored if self.holds(position)]
        if not found:
            raise UnknownKeyError(f"no such key in this view: {key!r}")
        return self.lookup.position(key, found)

    def positions_of(self, key: str) -> list[int]:
        """Return the stored positions of all samples of this selection that have a key; usually none or one."""
        found = self.lookup.positions(key)
        return found if self.positions is None else [position for position in found if self.holds(position)]

    def holds(self, position: int) -> bool:
        """Return whether a stored position is in this selection; costs no scan, but for the first of an array."""
        if self.positions is None or isinstance(self.positions, range):
            return position in (range(self.num_stored) if self.positions is None else self.positions)
        at = int(np.searchsorted(self._sorted, position))
        return at < len(self._sorted) and int(self._sorted[at]) == position

    @cached_property
    def _sorted(self) -> Integers:
        assert isinstance(self.positions, np.ndarray)
        return np.sort(self.positions)

    def resolve(self, items: Iterable[int | str]) -> Integers:
        """Return the stored positions of positions in this selection, and of keys, which are looked up together.

        Raises:
            OptionError: It is no list of these.
            PositionError, UnknownKeyError, DuplicateKeyError: One of them is not there.
        """
        if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
            raise OptionError(f"expected a list of positions and keys, got {items!r}; write [{items!r}]")
        if isinstance(items, np.ndarray) and items.dtype.kind in "iu" and items.dtype != np.uint64:
            numbers = items.astype(np.int64).reshape(-1)
        else:
            items = items.reshape(-1).tolist() if isinstance(items, np.ndarray) else list(items)
            if set(map(type, items)) - {int}:
                stored = self.lookup.find_many(item for item in items if isinstance(item, str))
                found = [
                    self.position_of(item, stored.get(item)) if isinstance(item, str) else self.position(item)
                    for item in items
                ]
                return np.array(found, np.int64)
            try:
                numbers = np.array(items, np.int64)
            except OverflowError:
                raise self._out_of_range(max(items, key=abs)) from None
        size = len(self)
        if len(numbers) and not (numbers.min() >= 0 and numbers.max() < size):
            wrong = (numbers < -size) | (numbers >= size)
            if wrong.any():
                raise self._out_of_range(int(numbers[wrong][0]))
            numbers = np.where(numbers < 0, numbers + size, numbers)
        if isinstance(self.positions, range):
            return self.positions.start + self.positions.step * numbers
        return numbers if self.positions is None else self.positions[numbers]

    def plain(self, items: Iterable[int | str]) -> tuple[list[int], Integers] | None:
        """Return items as a list and an array if they are stored positions already, which is soon seen; else None."""
        if self.positions is None and isinstance(items, (list, tuple, range)) and set(map(type, items)) == {int}:
            wanted = cast("list[int]", list(items))
            with suppress(OverflowError):
                positions = np.frombuffer(array("q", wanted), np.int64)  # a third of what numpy takes for a list
                if positions.min() >= 0 and positions.max() < self.num_stored:
                    return wanted, positions
        return None

    def _out_of_range(self, position: int) -> PositionError:
        what = "dataset" if self.positions is None else "view"
        return PositionError(f"position {position} is out of range: the {what} has {len(self)} samples")

    def check_fields(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Return wanted fields, sorted.

        Raises:
            FieldNotFoundError: No sample of the dataset has one of them.
        """
        if isinstance(fields, str):
            raise OptionError(f"fields is a list of names; write fields=[{fields!r}]")
        wanted, there = set(fields), self.shards.manifest.samples_per_field
        for field in wanted:
            if field not in there:
                raise FieldNotFoundError(f"no field {field!r}; the dataset has: {', '.join(there) or 'none'}")
        return tuple(sorted(wanted))

    # What indexes tell

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Costs the index of each shard, many fetched together, and no payload."""
        for shard, rows in self._rows():
            if len(rows) == len(shard) and self.positions is None:
                yield from shard.index.keys()
            else:
                yield from (shard.keys.text_at(shard.first + row) for row in rows.tolist())

    def locations(self) -> Iterator[SampleLocation]:
        """Yield where each sample lies, in order; costs as `keys`."""
        for shard, rows in self._rows():
            for row in rows.tolist():
                yield shard.locate(row)

    def stored(self) -> Iterator[tuple[Store, SampleLocation]]:
        """Yield where each sample lies, and the store that has it, in order; costs as `keys`."""
        for shard, rows in self._rows():
            for row in rows.tolist():
                yield shard.store, shard.locate(row)

    def locate(self, positions: Integers) -> list[SampleLocation]:
        """Return where samples at stored positions lie; indexes are fetched together, as many as may be held."""
        order = np.argsort(positions, kind="stable")
        ascending = positions[order]
        located: dict[int, SampleLocation] = {}
        for runs in groups(self.shards, ascending):
            opened = self.shards.load(number for number, _, _ in runs)
            for shard, (_, begin, end) in zip(opened, runs, strict=True):
                for at, position in zip(order[begin:end].tolist(), ascending[begin:end].tolist(), strict=True):
                    located[at] = shard.locate(position - shard.first)
        return [located[at] for at in range(len(positions))]

    def _rows(self) -> Iterator[tuple[ShardReader, Integers]]:
        waiting: list[tuple[int, Integers]] = []
        for run in self.shards.rows(self.array):
            waiting.append(run)
            if len(waiting) == SHARDS_AT_ONCE:
                yield from self._opened(waiting)
                waiting = []
        yield from self._opened(waiting)

    def _opened(self, runs: list[tuple[int, Integers]]) -> Iterator[tuple[ShardReader, Integers]]:
        shards = self.shards.load(number for number, _ in runs)
        return zip(shards, (rows for _, rows in runs), strict=True)
