"""`Dataset`: samples by position and by key, from any store.

    position --bisect--> shard --row--> offsets, sizes (index columns) --range--> bytes
    key --XXH3--> key index --> positions --compare the key itself--> position
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from shardpack.codecs.decode import decode_field
from shardpack.errors import (
    CorruptIndexError,
    DatasetNotFoundError,
    DecodeError,
    DuplicateKeyError,
    FieldNotFoundError,
    OptionError,
    PositionError,
    ShardNotFoundError,
    UnknownKeyError,
)
from shardpack.format import manifest as manifest_format
from shardpack.format.key_index import FILE_NAME as KEY_INDEX_NAME
from shardpack.format.key_index import KeyIndex, hash_key
from shardpack.format.manifest import Manifest, ShardInfo, parse_manifest
from shardpack.read.gather import gather
from shardpack.read.sample import Sample
from shardpack.read.shard import Entry, OpenShard, open_shard
from shardpack.read.stream import Stream
from shardpack.storage.protocol import RangeReader, Stats

MAX_OPEN_SHARDS = 256


class Dataset:
    """A packed dataset, or a view of some of its samples, open for reading.

    Made by `shardpack.open`. Safe in threads and after fork; pickles as (store, options), so that
    worker processes open their own handles. Opening costs the manifest; a shard's index is read
    when the shard is first needed, and at most 256 shards are kept open.
    """

    def __init__(
        self,
        store: RangeReader,
        manifest: Manifest,
        *,
        verify: bool | None = None,
        positions: npt.NDArray[np.int64] | None = None,
    ):
        self._store = store
        self._manifest = manifest
        self._verify = store.checks_reads if verify is None else verify
        self._verify_asked = verify
        self._positions = positions
        self._first_positions = manifest.starts[:-1]
        self._total = manifest.num_samples
        self._plain_total = self._total if positions is None else 0  # positions that need no translation
        self._shards: list[OpenShard | None] = [None] * len(self._first_positions)
        self._open_order: list[int] = []
        self._key_index: KeyIndex | None = None

    # Opening and pickling

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self._store, self._verify_asked, self._positions, self.fingerprint))

    def __repr__(self) -> str:
        view = "" if self._positions is None else f" of {self._total}"
        return f"<Dataset {self._store.location!r}: {len(self)}{view} samples, {len(self._shards)} shards>"

    # What is there

    @property
    def location(self) -> str:
        """Where the dataset was opened."""
        return self._store.location

    @property
    def manifest(self) -> Manifest:
        """The parsed manifest."""
        return self._manifest

    @property
    def shards(self) -> tuple[ShardInfo, ...]:
        """All shards of the dataset, in order; also for a view."""
        return self._manifest.shards

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that any sample has, sorted."""
        return tuple(self._manifest.samples_per_field)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in label order, where the source had classes."""
        return None if self._manifest.classes is None else tuple(self._manifest.classes)

    @property
    def fingerprint(self) -> str:
        """A hash of the content of all shards, in their order (SPEC 6.2)."""
        return manifest_format.fingerprint(self._manifest)

    def __len__(self) -> int:
        return self._total if self._positions is None else len(self._positions)

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Costs the index of each shard, and no payload."""
        if self._positions is not None:
            for position in self._positions.tolist():
                yield self._shard_of(position).key_at(position)
            return
        for number in range(len(self._shards)):
            yield from self._shard(number).index.keys()

    def entries(self) -> Iterator[Entry]:
        """Yield where each sample lies, in order. Costs the index of each shard, and no payload."""
        for number, rows in self._rows_by_shard():
            shard = self._shard(number)
            for row in rows.tolist():
                yield shard.entry(row)

    def __contains__(self, key: object) -> bool:
        """Return whether a sample has this key. For integers: whether it is a position."""
        if isinstance(key, str):
            return bool(self._positions_of(key))
        return isinstance(key, int) and -len(self) <= key < len(self)

    def stats(self) -> Stats:
        """Return what reading has cost so far: requests and bytes."""
        return self._store.stats.snapshot()

    # Samples

    @overload
    def __getitem__(self, item: int | str) -> Sample: ...

    @overload
    def __getitem__(self, item: slice | Sequence[int | str]) -> list[Sample]: ...

    def __getitem__(self, item: Any) -> Sample | list[Sample]:
        """Return one sample by position or key; a list of them for a slice or a list.

        Cost of one sample: one range; none once its shard is mapped (see `read/shard.py`). By key:
        one page of the key index more. `-1` is the last sample.

        Raises:
            PositionError: There is no such position (an IndexError).
            UnknownKeyError: There is no such key (a KeyError).
            CorruptShardError, CorruptIndexError, StaleIndexError: What was read is not what was packed.
        """
        if item.__class__ is not int or not 0 <= item < self._plain_total:
            if item.__class__ is str:
                item = self.position_of(item)
            elif isinstance(item, slice):
                return self.get_many(range(*item.indices(len(self))))
            elif isinstance(item, (list, tuple, np.ndarray)):
                return self.get_many(item)
            else:
                item = self._checked_position(item)
        # The hot path: about 1 us a sample of two fields when the shard is mapped.
        number = bisect_right(self._first_positions, item) - 1
        shard = self._shards[number]
        if shard is None:
            shard = self._shard(number)
        mapped = shard.map
        if mapped is None or not shard.dense:
            return self._read_one(shard, item)
        sample = Sample()
        sample.position = item
        sample._key = shard
        offsets, sizes = shard.offsets, shard.sizes
        cell = (item - shard.first) * shard.width
        for field in shard.fields:
            start = offsets[cell]
            sample[field] = mapped[start : start + sizes[cell]]
            cell += 1
        return sample

    def _read_one(self, shard: OpenShard, position: int) -> Sample:
        sample = Sample()
        sample.position, sample._key = position, shard
        row = position - shard.first
        gather(shard, np.array([row]), [sample], None, verify=self._verify)
        if not self._verify:
            shard.count_read()
        return sample

    def get_many(self, items: Iterable[int | str], *, fields: Sequence[str] | None = None) -> list[Sample]:
        """Return samples in the order asked; reads are sorted, merged and announced together.

        Args:
            items: Positions and keys, mixed as you like; repeats are fine.
            fields: Read only these. Fields that a sample lacks are missing from it.

        Raises:
            FieldNotFoundError: No sample of the dataset has this field.
            PositionError, UnknownKeyError: As for one sample, before anything is read.
        """
        wanted = None if fields is None else self._checked_fields(fields)
        positions = self._resolve(items)
        samples = [Sample() for _ in range(len(positions))]
        order = np.argsort(positions, kind="stable")
        ascending = positions[order]
        placed = [samples[i] for i in order.tolist()]
        for sample, position in zip(placed, ascending.tolist(), strict=True):
            sample.position = position
        for number, begin, end in self._by_shard(ascending):
            shard = self._shard(number)
            part = placed[begin:end]
            for sample in part:
                sample._key = shard
            gather(shard, ascending[begin:end] - shard.first, part, wanted, verify=self._verify)
            if not self._verify:
                shard.count_read()
        return samples

    def _by_shard(self, ascending: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """Yield (shard number, begin, end) of the runs of positions that share a shard."""
        begin, total = 0, len(ascending)
        while begin < total:
            number = bisect_right(self._first_positions, int(ascending[begin])) - 1
            end = int(np.searchsorted(ascending, self._manifest.starts[number + 1]))
            yield number, begin, end
            begin = end

    def decode(self, sample: Sample) -> dict[str, Any]:
        """Return the sample's fields as Python values: a new dict.

        `json` as JSON gives it, `txt` str, `cls` int, `npy` array, pictures as PIL images, unchanged
        in mode, depth and orientation; anything else stays bytes.

        Raises:
            DecodeError: A payload is not what its field's name says.
        """
        try:
            return {field: decode_field(field, payload) for field, payload in sample.items()}
        except DecodeError as error:
            raise DecodeError(error.args[0], key=sample.key) from error

    # Views and streams

    def select(self, items: Iterable[int | str]) -> Dataset:
        """Return a view of some samples, in the order given: it has a length, seeks and streams.

        A sample of a view keeps the `position` it has in the whole dataset.
        """
        view = Dataset(
            self._store, self._manifest, verify=self._verify_asked, positions=self._resolve(items)
        )
        # Shards that are open serve the view too; whatever either opens later is its own.
        view._shards, view._open_order = list(self._shards), list(self._open_order)
        view._key_index = self._key_index
        return view

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in stored order; the same as `iter(ds.stream())`."""
        return iter(self.stream())

    def stream(self, *, shuffle: str = "none", seed: int = 0, fields: Sequence[str] | None = None) -> Stream:
        """Return an iterable over one epoch of samples, read in long ranges.

        Args:
            shuffle: "none" for stored order, "shards" for shards in an order drawn from the seed,
                samples inside each as stored.
            seed: Any integer; with the epoch it fixes the order on every machine (SPEC 7).
            fields: Read only these.
        """
        wanted = None if fields is None else self._checked_fields(fields)
        return Stream(self, shuffle=shuffle, seed=seed, fields=wanted)

    # Lookup

    def position_of(self, key: str) -> int:
        """Return the position of a key. Costs one page of the key index and one key of a shard index.

        Raises:
            UnknownKeyError: No sample (of this view) has it.
            DuplicateKeyError: Several samples have it (only in datasets that others wrote).
        """
        found = self._positions_of(key)
        if len(found) == 1:
            return found[0]
        if not found:
            raise UnknownKeyError(f'no such key: {key!r}; list them with "shardpack ls"')
        raise DuplicateKeyError(
            f"{len(found)} samples have this key, at positions {', '.join(map(str, found[:5]))}; ask by position",
            key=key,
        )

    def _positions_of(self, key: str) -> list[int]:
        index = self._key_index or self._open_key_index()
        raw = key.encode("utf-8", "surrogateescape")
        found = index.positions(hash_key(raw))
        for position in found:
            if not self._has_key(position, raw):  # two keys with one hash
                found = [other for other in found if self._has_key(other, raw)]
                break
        if self._positions is not None and found:
            found = [position for position in found if bool((self._positions == position).any())]
        return found

    def _has_key(self, position: int, raw: bytes) -> bool:
        number = bisect_right(self._first_positions, position) - 1
        shard = self._shards[number]
        if shard is None:
            shard = self._shard(number)
        row = position - shard.first
        offsets = shard.key_offsets
        return bool(shard.key_heap[offsets[row] : offsets[row + 1]] == raw)

    def _open_key_index(self) -> KeyIndex:
        try:
            buffer = self._store.buffer(KEY_INDEX_NAME)
        except ShardNotFoundError as error:
            raise ShardNotFoundError(
                'key index is missing; rebuild it with "shardpack index"', shard=KEY_INDEX_NAME
            ) from error
        expected = self._manifest.keys["num_bytes"]
        if len(buffer) != expected:
            raise CorruptIndexError(
                f'key index has {len(buffer)} bytes, expected {expected}; rebuild it with "shardpack index"',
                shard=KEY_INDEX_NAME,
            )
        self._key_index = KeyIndex(buffer, num_samples=self._total)
        return self._key_index

    def _checked_position(self, item: Any) -> int:
        try:
            position = int(item.__index__())
        except AttributeError:
            raise OptionError(
                f"a sample is asked for by position (int) or key (str), got {type(item).__name__}"
            ) from None
        size = len(self)
        if not -size <= position < size:
            raise PositionError(f"position {position} is out of range: the dataset has {size} samples")
        position += size if position < 0 else 0
        return position if self._positions is None else int(self._positions[position])

    def _resolve(self, items: Iterable[int | str]) -> npt.NDArray[np.int64]:
        """Return positions in the whole dataset for positions in this view, and keys."""
        if isinstance(items, np.ndarray) and items.dtype.kind in "iu":
            positions = items.astype(np.int64).reshape(-1)
        else:
            items = list(items)
            if any(item.__class__ is not int for item in items):
                found = [self.position_of(i) if isinstance(i, str) else self._checked_position(i) for i in items]
                return np.array(found, np.int64)
            positions = np.array(items, np.int64)
        size = len(self)
        wrong = (positions < -size) | (positions >= size)
        if wrong.any():
            self._checked_position(int(positions[wrong][0]))
        positions = np.where(positions < 0, positions + size, positions)
        return positions if self._positions is None else self._positions[positions]

    def _checked_fields(self, fields: Sequence[str]) -> tuple[str, ...]:
        if isinstance(fields, str):
            raise OptionError(f"fields is a list of names; write fields=[{fields!r}]")
        for field in fields:
            if field not in self._manifest.samples_per_field:
                raise FieldNotFoundError(f"no field {field!r}; the dataset has: {', '.join(self.fields)}")
        return tuple(sorted(fields))

    # Shards

    def _shard_of(self, position: int) -> OpenShard:
        return self._shard(bisect_right(self._first_positions, position) - 1)

    def _rows_by_shard(self) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield (shard number, rows) that cover this dataset or view; rows in the view's order."""
        starts = self._manifest.starts
        if self._positions is None:
            for number in range(len(self._shards)):
                yield number, np.arange(starts[number + 1] - starts[number])
            return
        numbers = np.searchsorted(starts, self._positions, side="right") - 1
        edges = np.flatnonzero(np.diff(numbers, prepend=-1)).tolist()
        for begin, end in zip(edges, [*edges[1:], len(numbers)], strict=True):
            number = int(numbers[begin])
            yield number, self._positions[begin:end] - starts[number]

    def _shard(self, number: int) -> OpenShard:
        shard = self._shards[number]
        if shard is None:
            first = self._first_positions[number]
            info = self._manifest.shard(number)
            shard = open_shard(self._store, info, first, probe=not self._verify)
            # No lock: two threads may open the same shard, and either copy serves.
            self._shards[number] = shard
            self._open_order.append(number)
            if len(self._open_order) > MAX_OPEN_SHARDS:
                with suppress(IndexError):
                    self._shards[self._open_order.pop(0)] = None
        return shard


def _reopen(
    store: RangeReader, verify: bool | None, positions: npt.NDArray[np.int64] | None, fingerprint: str
) -> Dataset:
    dataset = open_dataset(store, verify=verify, positions=positions)
    if dataset.fingerprint != fingerprint:
        raise OptionError(f"the dataset at {store.location!r} has changed since this object was pickled; open it again")
    return dataset


def open_dataset(
    store: RangeReader, *, verify: bool | None = None, positions: npt.NDArray[np.int64] | None = None
) -> Dataset:
    """Return the dataset in a store. Costs one read, the manifest.

    Raises:
        DatasetNotFoundError: The store has no manifest.
        CorruptManifestError, UnsupportedVersionError: It is damaged, or newer than this code.
    """
    try:
        text = bytes(store.buffer(manifest_format.FILE_NAME))
    except ShardNotFoundError as error:
        raise DatasetNotFoundError(
            f"no dataset in {store.location!r}: {manifest_format.FILE_NAME} is missing; "
            'pack one with "shardpack pack", or index tars with "shardpack index"'
        ) from error
    return Dataset(store, parse_manifest(text), verify=verify, positions=positions)
