"""`Dataset`: what users see of reading. It joins `read/`, which has the samples, and `stream/`, which orders them.

ds[12]      `ShardCache`: position --> shard --> payloads cut from its map, or read by range
ds["key"]   `KeyLookup`: key --> position, and on as above
ds.select   `Selection`: which samples a view has, and what users' positions and keys mean
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from shardpack.codecs.decode import can_decode, decode_field
from shardpack.errors import DecodeError, OptionError, PositionError
from shardpack.format.manifest import Manifest
from shardpack.order.options import DEFAULT_BLOCK_BYTES, as_shuffle
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.open_manifest import load_generation
from shardpack.read.open_shards import open_shards
from shardpack.read.read_many import read_listed, read_samples
from shardpack.read.sample import Sample
from shardpack.read.selection import Selection
from shardpack.read.shard_cache import CacheLimits, ShardCache
from shardpack.read.shard_list import ShardList
from shardpack.read.shard_reader import SampleLocation
from shardpack.sources.dataset import list_samples
from shardpack.sources.listing import Listing
from shardpack.storage.locations import DatasetStores, LocationOptions
from shardpack.storage.protocols import Store
from shardpack.storage.stats import Stats
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.open_loader import open_loader
from shardpack.stream.reader import DEFAULT_MEMORY_BYTES, read_limits
from shardpack.stream.source import Source
from shardpack.stream.stream import Stream

Positions = npt.NDArray[np.int64] | range


class Dataset:
    """A packed dataset, or a view of some of its samples, open for reading.

    Made by `shardpack.open`. Safe in threads and after fork; pickles as (stores, options, generation,
    checksum of the manifest), so that worker processes open their own handles, of this very
    generation. Opening costs the manifest; a shard's index is read when the shard is first needed,
    and kept within a limit of memory.
    """

    def __init__(self, selection: Selection, *, verify: bool | None = None) -> None:
        self._selection, self._shards, self._verify = selection, selection.shards, verify
        self._position_of = selection.position_of if selection.positions is not None else selection.lookup.position
        self._plain_total = len(selection) if selection.positions is None else 0  # positions that need no translation

    def __reduce__(self) -> tuple[Any, ...]:
        shards = self._shards
        which = shards.manifest.generation, shards.manifest_crc32c
        return (_reopen, (shards.stores, self._verify, self._selection.positions, *which))

    def __repr__(self) -> str:
        view = "" if self._selection.positions is None else f" of {self._selection.num_stored}"
        return f"<Dataset {self.location!r}: {len(self)}{view} samples, {len(self._shards)} shards>"

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of threads, connections, maps and descriptors, those of views too; a later read opens them again."""
        self._shards.close()
        self._shards.stores.close()

    # What is there

    @property
    def location(self) -> str:
        """Where the dataset was opened."""
        return self._shards.stores.location

    @property
    def manifest(self) -> Manifest:
        """The parsed manifest."""
        return self._shards.manifest

    @property
    def shards(self) -> ShardList:
        """All shards of the dataset, in order, also for a view: a sequence that makes each when it is asked for."""
        return self._shards.table

    def shard_url(self, number: int) -> str:
        """Return where a shard lies, which may be elsewhere than its index: a path or a URL."""
        return self._shards.stores.url(self.shards[number])

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that any sample has, sorted."""
        return tuple(self.manifest.samples_per_field)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in label order, where the source had classes."""
        return self.manifest.classes

    @property
    def fingerprint(self) -> str:
        """A hash of the content of all shards, in their order (SPEC 6.3)."""
        return self.manifest.fingerprint

    def __len__(self) -> int:
        return len(self._selection)

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Costs the index of each shard, and no payload."""
        return self._selection.keys()

    def entries(self) -> Iterator[SampleLocation]:
        """Yield where each sample lies, in order; see `locate`. Costs the index of each shard, and no payload."""
        return self._selection.locations()

    @overload
    def locate(self, item: int | str) -> SampleLocation: ...

    @overload
    def locate(self, item: list[Any] | tuple[Any, ...] | range | npt.NDArray[Any]) -> list[SampleLocation]: ...

    def locate(self, item: Any) -> SampleLocation | list[SampleLocation]:
        """Return where each field of a sample lies: URL, offset, size, CRC32C. A list of them for many items.

        Costs the index of each shard, all fetched together, and no payload.

        Raises:
            PositionError, UnknownKeyError: As for `ds[item]`.
        """
        if not isinstance(item, Iterable) or isinstance(item, str):
            return self._selection.locate(self._selection.resolve([item]))[0]
        return self._selection.locate(self._selection.resolve(item))

    def listing(self) -> Listing:
        """Return the samples as `shardpack.pack` takes them: where their bytes lie. Costs the index of each shard."""
        return list_samples(
            self._selection.stored(),
            location=self.location,
            manifest_crc32c=self._shards.manifest_crc32c,
            classes=self.classes,
        )

    def __contains__(self, key: object) -> bool:
        """Return whether a sample has this key. For integers: whether it is a position."""
        if isinstance(key, str):
            return bool(self._selection.positions_of(key))
        try:
            self._selection.position(key)
        except (OptionError, PositionError):
            return False
        return True

    def stats(self) -> Stats:
        """Return what reading has cost so far: requests and bytes."""
        return self._shards.stores.stats()

    # Samples

    @overload
    def __getitem__(self, item: int | str) -> Sample: ...

    @overload
    def __getitem__(self, item: slice | list[Any] | tuple[Any, ...] | npt.NDArray[Any]) -> list[Sample]: ...

    def __getitem__(self, item: Any) -> Sample | list[Sample]:
        """Return one sample by position or key; a list of them for a slice or a list.

        Cost of one sample: one range; none once its shard is mapped (see `read/shard_cache.py`). By key:
        one page of the key index more. `-1` is the last sample.

        Raises:
            PositionError: There is no such position (an IndexError).
            UnknownKeyError: There is no such key (a KeyError).
            CorruptShardError, CorruptIndexError, StaleIndexError: What was read is not what was packed.
        """
        if item.__class__ is not int or not 0 <= item < self._plain_total:
            if isinstance(item, str):
                item = self._position_of(item)
            elif isinstance(item, slice):
                return self.get_many(range(*item.indices(len(self))))
            elif isinstance(item, (list, tuple, range)) or (isinstance(item, np.ndarray) and item.ndim):
                return self.get_many(item)
            else:
                item = self._selection.position(item)
        table = self._shards.open
        shard = table.mapped[bisect_right(table.bounds, item)]
        return self._shards.read(item) if shard is None else shard.cut(item)

    def get_many(self, items: Iterable[int | str], *, fields: Sequence[str] | None = None) -> list[Sample]:
        """Return samples in the order asked; reads are sorted, merged and announced together.

        Args:
            items: Positions and keys, mixed as you like; repeats are fine.
            fields: Read only these. Fields that a sample lacks are missing from it.

        Raises:
            FieldNotFoundError: No sample of the dataset has this field.
            PositionError, UnknownKeyError: As for one sample, before anything is read.
        """
        if fields is None and not self._shards.stores.remote and (plain := self._selection.plain(items)) is not None:
            return read_listed(self._shards, *plain)
        wanted = None if fields is None else self._selection.check_fields(fields)
        return read_samples(self._shards, self._selection.resolve(items), wanted)

    def decode(self, sample: Sample) -> dict[str, Any]:
        """Return the sample's fields as Python values: a new dict.

        `json` as JSON gives it, `txt` str, `cls` int, `npy` a read-only array on the sample's own bytes, `npz` a
        dict of arrays, `msgpack` its value, images as PIL images, unchanged in mode, depth and orientation;
        fields with `.zst` or `.gz` behind are decompressed first. Anything else stays bytes: asked for by itself,
        `sample.decode(field)`, it is an error.

        Raises:
            DecodeError: A payload is not what its field's name says.
            MissingDependencyError: A field needs a library that is not installed.
        """
        try:
            return {
                field: decode_field(field, payload) if can_decode(field) else payload
                for field, payload in sample.items()
            }
        except DecodeError as error:
            raise DecodeError(error.args[0], key=sample.key) from error

    # Views and streams

    def select(self, items: Iterable[int | str]) -> Dataset:
        """Return a view of some samples, in the order given: it has a length, seeks and streams.

        A sample of a view keeps the `position` it has in the whole dataset.
        """
        return Dataset(self._selection.select(items), verify=self._verify)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in stored order; the same as `iter(ds.stream())`."""
        return iter(self.stream())

    def stream(
        self,
        *,
        shuffle: str | bool = "none",
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        batch_size: int | None = None,
        tail: str = "pad",
        partitions: int | None = None,
        block_bytes: int | str = DEFAULT_BLOCK_BYTES,
        window_blocks: int | None = None,
        fields: Sequence[str] | None = None,
        memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
    ) -> Stream:
        """Return an iterable over one rank's share of an epoch; it can be stopped and resumed anywhere.

        The order is arithmetic on (seed, epoch, dataset, options), the same on every machine
        (SPEC 7). The global batches do not depend on the world size, nor on workers.

        Args:
            shuffle: "none" for stored order; "shards" for permuted shards, samples inside as
                stored; "blocks" (or True) for permuted blocks, mixed in a window of blocks;
                "global" for a permutation of all samples, at the price of a read each.
            seed: Any integer.
            rank, world_size: This process, of how many; they share the epoch.
            batch_size: Samples a rank takes in a step. None: as few as the partitions allow.
            tail: What ranks do that cannot share the last step alike: "pad" repeats a sample on
                some so that all get the same number, "drop" leaves one out on some, "exact" does
                neither (for evaluation: each sample once, ranks may differ by one).
            partitions: Parts that the order is cut into: a run resumes at every world size that divides
                them. By default as many up to 64 as the batch allows; the world size where samples come
                as stored ("none", "shards").
            block_bytes: For "blocks": about how long a block is, in bytes or like "4MiB".
            window_blocks: For "blocks": how many blocks are mixed at a time, over all partitions and
                ranks; 32 times the world size by default. A resumed run keeps it.
            fields: Read only these.
            memory_bytes: What of a remote dataset is held and under way at most, a rank, or one batch if
                that is more. Blocks that do not fit are read sample by sample.

        Raises:
            OptionError: An option is out of range, or they do not fit together.
            FieldNotFoundError: No sample of the dataset has this field.
        """
        return Stream(
            DatasetEpochs(
                self.stream_source(fields),
                as_shuffle(shuffle, seed, block_bytes, window_blocks, world_size=world_size),
                read_limits(memory_bytes),
            ),
            rank=rank,
            world_size=world_size,
            batch_size=batch_size,
            tail=tail,
            partitions=partitions,
            fixed_window=window_blocks is not None,
        )

    def stream_source(self, fields: Sequence[str] | None = None) -> Source:
        """Return the samples as streams and mixes take them.

        Raises:
            FieldNotFoundError: No sample of the dataset has this field.
        """
        selection = self._selection
        return Source(selection.shards, selection.array, None if fields is None else selection.check_fields(fields))

    loader = open_loader  # a method: its long list of options is explained where it is

    # Lookup

    def position_of(self, key: str) -> int:
        """Return the position of a key. Costs one page of the key index and one key of a shard index.

        Raises:
            UnknownKeyError: No sample (of this view) has it.
            DuplicateKeyError: Several samples have it (only in datasets that others wrote).
        """
        return self._position_of(key)


def _reopen(
    stores: DatasetStores, verify: bool | None, positions: Positions | None, generation: int, manifest_crc32c: int
) -> Dataset:
    manifest = load_generation(stores.sidecars, generation, manifest_crc32c)
    checks = stores.checks_reads if verify is None else verify
    shards = ShardCache(stores, manifest, manifest_crc32c=manifest_crc32c, verify=checks)
    return Dataset(Selection(shards, KeyLookup(shards), positions), verify=verify)


def open_dataset(
    store: Store,
    *,
    verify: bool | None = None,
    sidecars: Store | None = None,
    options: LocationOptions | None = None,
    limits: CacheLimits | None = None,
) -> Dataset:
    """Return the dataset in a store; see `open_shards`, whose arguments and errors it has."""
    shards = open_shards(store, verify=verify, sidecars=sidecars, options=options, limits=limits)
    return Dataset(Selection(shards, KeyLookup(shards)), verify=verify)
