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
from shardpack.format.splits import NO_SPLIT, Splits
from shardpack.order.runs import Runs
from shardpack.read.key_lookup import KeyLookup, only_match
from shardpack.read.sample import SampleLocation
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import ShardReader
from shardpack.runtime.arguments import integer_or_none
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import Store

SHARDS_AT_ONCE = 64  # shards whose indexes are fetched together when going through all samples


class Selection:
    """Samples of a dataset, in order. Safe in threads; immutable.

    Attributes:
        cache: Opens the shards.
        lookup: Finds keys, in the whole dataset.
        positions: The stored positions of a view: an array, or runs, which take no memory; None for all samples.
        num_stored: Number of samples in the whole dataset.
    """

    def __init__(self, cache: ShardCache, lookup: KeyLookup, positions: Integers | Runs | None = None) -> None:
        self.cache, self.lookup, self.positions = cache, lookup, positions
        self.num_stored = cache.manifest.num_samples

    def __len__(self) -> int:
        return self.num_stored if self.positions is None else len(self.positions)

    def select(self, items: Iterable[int | str]) -> Selection:
        """Return some of these samples, in the order given; all samples in stored order are the dataset itself."""
        if isinstance(items, range) and not isinstance(self.positions, np.ndarray):
            items = self._checked_range(items)
            own = Runs.of_range(range(self.num_stored)) if self.positions is None else self.positions
            if (runs := own.slice(items)) is not None:
                return Selection(self.cache, self.lookup, None if runs.is_everything(self.num_stored) else runs)
        positions = self.resolve(items)
        is_all = len(positions) == self.num_stored and bool((positions == np.arange(self.num_stored)).all())
        return Selection(self.cache, self.lookup, None if is_all else positions)

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
        """Return the number of these samples in each split. Of a view it costs the file of splits, once."""
        if self.positions is None:
            return {} if self.cache.manifest.splits is None else dict(self.cache.manifest.splits.samples)
        if (splits := self.cache.splits) is None:
            return {}
        counts = sum(np.bincount(piece, minlength=NO_SPLIT + 1) for piece in self._split_numbers(splits))
        numbers = dict(zip(splits.names, np.atleast_1d(counts).tolist(), strict=False))
        return {name: count for name, count in numbers.items() if count}

    def of_split(self, name: str) -> Selection:
        """Return the samples of one split, in the order of this selection. Costs the file of splits, once.

        Raises:
            OptionError: No split has this name.
        """
        splits = self.cache.splits
        if splits is None:
            raise OptionError(f"the dataset has no splits, so none is called {name!r}; stream all of it")
        if name not in splits.names:
            raise OptionError(f"no split {name!r}; the dataset has: {', '.join(splits.names)}")
        begin, end = splits.ranges(name)
        own = Runs(begin, end - begin)
        if self.positions is None:
            return Selection(self.cache, self.lookup, None if own.is_everything(self.num_stored) else own)
        number = splits.names.index(name)
        kept = [piece[splits.numbers(piece) == number] for piece in self._pieces()]
        return Selection(self.cache, self.lookup, np.concatenate([np.zeros(0, np.int64), *kept]))

    def split_numbers(self) -> npt.NDArray[np.uint16] | None:
        """Return (n) the number of the split that each sample is in, or `NO_SPLIT`; None if there are no splits."""
        if (splits := self.cache.splits) is None:
            return None
        return np.concatenate([np.zeros(0, np.uint16), *self._split_numbers(splits)])

    def _split_numbers(self, splits: Splits) -> Iterator[npt.NDArray[np.uint16]]:
        return map(splits.numbers, self._pieces())

    def _pieces(self) -> Iterable[Integers]:
        """Return the stored positions of all samples in order, some at a time."""
        if isinstance(self.positions, np.ndarray):
            return [self.positions]
        return (Runs.of_range(range(self.num_stored)) if self.positions is None else self.positions).pieces()

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
        return number if self.positions is None else int(self.positions[number])

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
            return self.lookup.find(key) if matches is None else only_match(key, matches)
        matches = self._held(self.lookup.find_all(key) if matches is None else matches)
        if not matches:
            raise UnknownKeyError(f"no such key in this view: {key!r}")
        return only_match(key, matches)

    def has_key(self, key: str) -> bool:
        """Return whether a sample of this selection has a key."""
        return bool(self._held(self.lookup.find_all(key)))

    def _held(self, positions: list[int]) -> list[int]:
        return positions if self.positions is None else [one for one in positions if self.holds(one)]

    def holds(self, position: int) -> bool:
        """Return whether a stored position is in this selection. O(log n); the first call on an array sorts it."""
        if self.positions is None or isinstance(self.positions, Runs):
            return position in range(self.num_stored) if self.positions is None else self.positions.holds(position)
        at = int(np.searchsorted(self._sorted, position))
        return at < len(self._sorted) and int(self._sorted[at]) == position

    @cached_property
    def _sorted(self) -> Integers:
        assert isinstance(self.positions, np.ndarray)
        return np.sort(self.positions)

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
            numbers = items.astype(np.int64).reshape(-1)
        else:
            items = items.reshape(-1).tolist() if isinstance(items, np.ndarray) else list(items)
            if set(map(type, items)) - {int}:
                matches = self.lookup.find_many(item for item in items if isinstance(item, str))
                resolved = [
                    self.resolve_key(item, matches.get(item)) if isinstance(item, str) else self.position(item)
                    for item in items
                ]
                return np.array(resolved, np.int64)
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
        if isinstance(self.positions, Runs):
            return self.positions.at(numbers)
        return numbers if self.positions is None else self.positions[numbers]

    def plain(self, items: Iterable[int | str]) -> tuple[list[int], Integers] | None:
        """Return items as a list and an array if all are valid non-negative positions of the dataset, else None."""
        if self.positions is None and isinstance(items, (list, tuple, range)) and set(map(type, items)) == {int}:
            wanted = cast("list[int]", list(items))
            with suppress(OverflowError):
                positions = np.frombuffer(array("q", wanted), np.int64)  # three times as fast as from a list
                if positions.min() >= 0 and positions.max() < self.num_stored:
                    return wanted, positions
        return None

    def _out_of_range(self, position: int) -> PositionError:
        what = "dataset" if self.positions is None else "view"
        size = len(self)
        ask = f"ask for {-size} to {size - 1}" if size else "select some"
        return PositionError(f"position {position} is out of range: the {what} has {size} samples; {ask}")

    def check_fields(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Return the wanted fields, sorted.

        Raises:
            OptionError: `fields` is a string.
            FieldNotFoundError: No sample of the dataset has one of the fields.
        """
        if isinstance(fields, str):
            raise OptionError(f"fields is a list of names; write fields=[{fields!r}]")
        wanted, existing = set(fields), self.cache.manifest.samples_per_field
        for field in wanted:
            if field not in existing:
                raise FieldNotFoundError(f"no field {field!r}; the dataset has: {', '.join(existing) or 'none'}")
        return tuple(sorted(wanted))

    def shard_numbers(self) -> list[int]:
        """Return the numbers of the shards that hold these samples, ascending."""
        shard_list = self.cache.shard_list
        if self.positions is None:
            return list(range(len(shard_list)))
        return sorted({number for piece in self._pieces() for number in set(shard_list.locate_many(piece).tolist())})

    # From the indexes

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Reads the index of each shard, many at once, and no payload."""
        for shard, rows in self._rows():
            if len(rows) == len(shard) and self.positions is None:
                yield from shard.index.keys()
            else:
                yield from (shard.keys.text_at(shard.first + row) for row in rows.tolist())

    def locations(self) -> Iterator[SampleLocation]:
        """Yield where each sample is stored, in order. Costs as much as `keys`."""
        for shard, rows in self._rows():
            for row in rows.tolist():
                yield shard.locate(row)

    def stored(self) -> Iterator[tuple[Store, SampleLocation]]:
        """Yield the store of each sample and where it is stored, in order. Costs as much as `keys`."""
        for shard, rows in self._rows():
            for row in rows.tolist():
                yield shard.store, shard.locate(row)

    def locate(self, positions: Integers) -> list[SampleLocation]:
        """Return where samples at stored positions are stored; indexes are fetched together, as many as may be open."""
        order = np.argsort(positions, kind="stable")
        ascending = positions[order]
        located: dict[int, SampleLocation] = {}
        for runs in self.cache.shard_list.groups(ascending):
            shards = self.cache.load(number for number, _, _ in runs)
            for shard, (_, begin, end) in zip(shards, runs, strict=True):
                for at, position in zip(order[begin:end].tolist(), ascending[begin:end].tolist(), strict=True):
                    located[at] = shard.locate(position - shard.first)
        return [located[at] for at in range(len(positions))]

    def _rows(self) -> Iterator[tuple[ShardReader, Integers]]:
        waiting: list[tuple[int, Integers]] = []
        rows = self.cache.shard_list.rows
        for run in rows(None) if self.positions is None else chain.from_iterable(map(rows, self._pieces())):
            waiting.append(run)
            if len(waiting) == SHARDS_AT_ONCE:
                yield from self._opened(waiting)
                waiting = []
        yield from self._opened(waiting)

    def _opened(self, runs: list[tuple[int, Integers]]) -> Iterator[tuple[ShardReader, Integers]]:
        shards = self.cache.load(number for number, _ in runs)
        return zip(shards, (rows for _, rows in runs), strict=True)
