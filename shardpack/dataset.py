"""`Dataset`: the users' interface to reading. It joins `read/`, which reads samples, and `stream/`, which orders them.

ds[12]      `ShardCache`: position --> shard --> payloads cut from its map, or read by range
ds["key"]   `KeyLookup`: key --> position, then as above
ds.select   `Selection`: the samples of a view, and the translation of users' positions and keys
ds.loader   `Loadable`: a stream and its loader, in one call; ds.where: `Queryable`, the label table
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from shardpack.codecs.decode import can_decode, decode_field
from shardpack.errors import DecodeError, OptionError, PositionError
from shardpack.format.manifest import Manifest
from shardpack.order.options import DEFAULT_BLOCK_BYTES
from shardpack.order.positions import Positions
from shardpack.order.visible import Visible
from shardpack.read.key_lookup import KeyLookup
from shardpack.read.layers import sample_reader
from shardpack.read.open_dataset import Origin, open_shards, origin_of, reopen_shards
from shardpack.read.read_many import read_local, read_samples
from shardpack.read.sample import Sample, SampleLocation
from shardpack.read.selection import Selection
from shardpack.read.shard_cache import CacheLimits
from shardpack.read.shard_list import ShardList
from shardpack.sources.dataset import list_samples
from shardpack.sources.listing import Listing
from shardpack.storage.locations import LocationOptions
from shardpack.storage.protocols import Store
from shardpack.storage.stats import Stats
from shardpack.stream.limits import DEFAULT_MEMORY_BYTES
from shardpack.stream.loadable import Loadable
from shardpack.stream.options import StreamOptions, Weights
from shardpack.stream.stream import Stream, open_stream
from shardpack.stream.stream_input import StreamInput
from shardpack.table.queryable import Queryable


class Dataset(Loadable, Queryable):
    """A packed dataset, or a view of some of its samples, open for reading.

    Created by `shardpack.open`. Safe in threads and after fork. Its pickle holds stores, options, generation and
    the manifest's checksum, so worker processes open their own handles, of exactly this generation. Opening
    reads the manifest; a shard's index is read when the shard is first needed, and cached within a memory limit.
    """

    def __init__(self, selection: Selection, *, verify: bool | None = None) -> None:
        self._selection, self._cache, self._verify = selection, selection.cache, verify
        self._reader = sample_reader(self._cache)
        self._find_key = selection.lookup.find if selection.positions is None else selection.resolve_key
        is_plain = selection.positions is None and not selection.cache.manifest.deleted
        # Of `ds[i]`: positions up to `_num_quick` are stored positions, or what `_visible` makes of them.
        self._num_quick = len(selection) if is_plain else 0
        self._visible: Visible | None = None  # set when it is needed

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (origin_of(self._cache), self._verify, self._selection.positions))

    def __repr__(self) -> str:
        view = "" if self._selection.positions is None else f" of {self._selection.num_visible}"
        return f"<Dataset {self.location!r}: {len(self)}{view} samples, {len(self._cache)} shards>"

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release threads, connections, maps and descriptors, those of views too; a later read opens them again."""
        self._cache.close()

    # Properties

    @property
    def location(self) -> str:
        """Where the dataset was opened."""
        return self._cache.stores.location

    @property
    def manifest(self) -> Manifest:
        """The parsed manifest."""
        return self._cache.manifest

    @property
    def shards(self) -> ShardList:
        """All shards of the dataset, in order, also for a view: a sequence that creates each when it is asked for."""
        return self._cache.shard_list

    def shard_numbers(self) -> list[int]:
        """Return the numbers in `shards` of those that hold samples of this view, ascending. Reads the shard table."""
        return self._selection.shard_numbers()

    def shard_url(self, number: int) -> str:
        """Return the path or URL of a shard, which may be in another place than its index."""
        return self._cache.stores.url(self.shards[number])

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that any sample has, sorted."""
        return self.manifest.fields

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in label order; None if the source had no classes."""
        return self.manifest.classes

    @property
    def splits(self) -> dict[str, int]:
        """Names of the splits, train first, and the number of samples in each; {} if there are none.

        Of a view, those that its samples are in: costs a read of the file of splits, once.
        """
        return self._selection.splits()

    @property
    def fingerprint(self) -> str:
        """A hash of the content of all shards, in their order (SPEC 6.3)."""
        return self.manifest.fingerprint

    def __len__(self) -> int:
        return len(self._selection)

    def keys(self) -> Iterator[str]:
        """Yield the keys in order. Reads the index of each shard, and no payload."""
        return self._selection.keys()

    def entries(self) -> Iterator[SampleLocation]:
        """Yield where each sample is stored, in order; see `locate`. Reads the index of each shard, and no payload."""
        return self._selection.locations()

    @overload
    def locate(self, item: int | str) -> SampleLocation: ...

    @overload
    def locate(self, item: list[Any] | tuple[Any, ...] | range | npt.NDArray[Any]) -> list[SampleLocation]: ...

    def locate(self, item: Any) -> SampleLocation | list[SampleLocation]:
        """Return where each field of a sample is stored: URL, offset, size, CRC32C. For many items, return a list.

        Reads the indexes of their shards, fetched together, and no payload.

        Raises:
            PositionError: A position is out of range.
            UnknownKeyError: No sample has one of the keys.
        """
        if not isinstance(item, Iterable) or isinstance(item, str):
            return self._selection.locate(self._selection.resolve([item]))[0]
        return self._selection.locate(self._selection.resolve(item))

    def listing(self) -> Listing:
        """Return the samples as `shardpack.pack` takes them: where their bytes are. Reads indexes only."""
        return list_samples(
            self._selection.stored(),
            location=self.location,
            manifests=[self._cache.manifest_crc32c],
            classes=self.classes,
            label_shape=self.manifest.option("label_shape"),
            split_names=tuple(self.manifest.splits.samples) if self.manifest.splits else (),
            split=self._selection.split_numbers(),
        )

    def __contains__(self, key: object) -> bool:
        """Return whether a sample has this key; for an integer, whether it is a valid position."""
        if isinstance(key, str):
            return self._selection.has_key(key)
        try:
            self._selection.position(key)
        except (OptionError, PositionError):
            return False
        return True

    def stats(self) -> Stats:
        """Return what reading has cost so far: requests and bytes."""
        return self._cache.stats()

    # Samples

    @overload
    def __getitem__(self, item: int | str) -> Sample: ...

    @overload
    def __getitem__(self, item: slice | list[Any] | tuple[Any, ...] | npt.NDArray[Any]) -> list[Sample]: ...

    def __getitem__(self, item: Any) -> Sample | list[Sample]:
        """Return one sample by position or key; for a slice or a list, return a list of samples.

        One sample costs one range, or nothing once its shard is mapped (see `read/shard_cache.py`). The first
        sample of a shard also costs the shard's index, and perhaps a page of the shard table. A key also costs
        a page of the key index, unless it is cached. `-1` is the last sample.

        Raises:
            PositionError: The position is out of range (an IndexError).
            UnknownKeyError: No sample has this key (a KeyError).
            CorruptShardError, CorruptIndexError: The shard or an index is damaged.
            StaleIndexError: An index does not match its shard.
        """
        if item.__class__ is not int or not 0 <= item < self._num_quick:
            if isinstance(item, str):
                item = self._find_key(item)
            elif isinstance(item, slice):
                return self.get_many(range(*item.indices(len(self))))
            elif isinstance(item, (list, tuple, range)) or (isinstance(item, np.ndarray) and item.ndim):
                return self.get_many(item)
            else:
                item = self._stored_position(item)
        elif (visible := self._visible) is not None:
            skipped = visible.skipped[item >> visible.shift]
            item = visible[item] if skipped < 0 else item + skipped
        shard = self._reader.by_position.mapped_at(item)
        return self._reader.read(item) if shard is None else shard.cut(item)

    def _stored_position(self, item: Any) -> int:
        """Return the stored position of a position; where samples are deleted, `ds[i]` finds the next by itself."""
        stored = self._selection.position(item)
        if self._visible is None and isinstance(visible := self._selection.stored_positions, Visible):
            self._visible = visible
            self._num_quick = len(visible)  # last: another thread may ask meanwhile
        return stored

    def get_many(self, items: Iterable[int | str], *, fields: Sequence[str] | None = None) -> list[Sample]:
        """Return samples in the order asked; reads are sorted, merged and made concurrently.

        Args:
            items: Positions and keys in any mixture; repeats are allowed.
            fields: The fields to read. A field that a sample lacks is missing from the result.

        Raises:
            FieldNotFoundError: No sample of the dataset has one of the fields.
            PositionError: A position is out of range. No payload was read.
            UnknownKeyError: No sample has one of the keys. No payload was read.
        """
        cache = self._cache
        is_plain = fields is None and not (cache.stores.remote or cache.manifest.layers)
        if is_plain and (plain := self._selection.plain(items)) is not None:
            return read_local(cache, *plain)
        wanted = None if fields is None else self._selection.check_fields(fields)
        return read_samples(cache, self._selection.resolve(items), wanted)

    def decode(self, sample: Sample | int | str) -> dict[str, Any]:
        """Return the fields of a sample, or of the sample at a position or key, as Python values: a new dict.

        `json` becomes what JSON holds, `txt` str, `cls` int, `npy` a read-only array on the sample's own bytes, `npz`
        a dict of arrays, `msgpack` its value, and an image a PIL image, unchanged in mode, depth and orientation.
        Fields that end in `.zst` or `.gz` are decompressed first. Any other field stays bytes here;
        `sample.decode(field)` refuses it.

        By position or key, an array `npy` of a local shard is a view of the shard's map: nothing of it is copied, and
        its bytes are read when it is used. It keeps the map alive, also after `close`.

        Raises:
            PositionError, UnknownKeyError: No sample has this position or key.
            DecodeError: A payload is not what its field's name says.
            MissingDependencyError: A field needs a library that is not installed.
        """
        if not isinstance(sample, Sample):
            sample = self._reader.read_views(int(self._selection.resolve([sample])[0]))
        try:
            return {
                field: decode_field(field, payload) if can_decode(field) else bytes(payload)
                for field, payload in sample.items()
            }
        except DecodeError as error:
            raise DecodeError(error.args[0], key=sample.key) from error

    # Views and streams

    def select(self, items: Iterable[int | str]) -> Dataset:
        """Return a view of some samples, in the order given; it is indexed and streamed like a dataset.

        A sample of a view keeps its `position` in the whole dataset.
        """
        return self._view(self._selection.select(items))

    def _view(self, selection: Selection) -> Dataset:
        return Dataset(selection, verify=self._verify)

    def split(self, name: str) -> Dataset:
        """Return a view of the samples of one split, in stored order; `splits` names them.

        Costs a read of the file of splits, once. Raises OptionError, listing the names, if no split is called so.
        """
        return self._view(self._selection.of_split(name))

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in stored order, as `ds.stream()` does."""
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
        balance: str | None = None,
        weights: Weights = None,
        num_samples: int | None = None,
        fields: Sequence[str] | None = None,
        memory_bytes: int | str = DEFAULT_MEMORY_BYTES,
    ) -> Stream:
        """Return an iterable over one rank's share of an epoch; it can be stopped and resumed at any sample.

        The order is computed from (seed, epoch, dataset, options) and is the same on every machine
        (SPEC 7). The global batches do not depend on the world size or the number of workers.

        Args:
            shuffle: "none" for stored order; "shards" for permuted shards with samples in stored order;
                "blocks" (or True) for permuted blocks, mixed in a window of blocks; "global" for a
                permutation of all samples, which costs one read per sample.
            seed: Any integer.
            rank, world_size: The number of this process, and of how many that share the epoch.
            batch_size: Samples per rank and step. None: as few as the partitions allow.
            tail: If the last step cannot be shared equally: "pad" repeats a sample on some ranks so all get as many,
                "drop" leaves one out on the others, "exact" does neither (for evaluation; ranks may differ by one).
            partitions: Parts that the order is cut into; a run resumes at every world size that divides them.
                Default: as many up to 64 as the batch allows; for "none" and "shards", the world size.
            block_bytes: For "blocks": approximate length of a block, in bytes or like "4MiB".
            window_blocks: For "blocks": blocks mixed at a time, over all ranks; by default 32 times the world size.
            balance: Name of a column of the label table, such as "class": all its values come equally often in the
                epoch, and in every batch as nearly as can be. Leave `shuffle` out: samples come in random order, no
                sample of a class again before all were seen, also from epoch to epoch. Costs one read per sample.
            weights: {class: weight}: the classes of the column "class" come in these proportions, in the same way; 0
                leaves one out. Or the name of a column with a number for each sample, which comes as often as that
                says, to within one: a true shuffle in every epoch.
            num_samples: Samples in a balanced or weighted epoch, over all ranks. Default: those of the dataset or view.
            fields: The fields to read; None for all.
            memory_bytes: Upper limit per rank on bytes held and in flight for a remote dataset; always at least
                one batch. Blocks that do not fit are read sample by sample.

        Raises:
            OptionError: An option is out of range, options contradict each other, or the dataset has no label table.
            FieldNotFoundError: No sample of the dataset has one of the fields.
        """
        options = StreamOptions(
            shuffle=shuffle, seed=seed, rank=rank, world_size=world_size, batch_size=batch_size, tail=tail,
            partitions=partitions, block_bytes=block_bytes, window_blocks=window_blocks, fields=fields,
            memory_bytes=memory_bytes, balance=balance, weights=weights, num_samples=num_samples,
        )  # fmt: skip
        return open_stream(self, options)

    def stream_input(self, fields: Sequence[str] | None = None) -> StreamInput:
        """Return the samples in the form that streams and mixes take.

        Raises:
            FieldNotFoundError: No sample of the dataset has one of the fields.
        """
        selection = self._selection
        wanted = None if fields is None else selection.check_fields(fields)
        return StreamInput(selection.cache, selection.positions, wanted)

    # Lookup

    def position_of(self, key: str) -> int:
        """Return the position of a key. Costs a page of the key index and the index of a shard, unless cached.

        Raises:
            UnknownKeyError: No sample (of this view) has this key.
            DuplicateKeyError: Several samples have this key, in a dataset that another tool wrote.
        """
        return self._selection.shown(self._find_key(key))


def _reopen(origin: Origin, verify: bool | None, positions: Positions | None) -> Dataset:
    cache = reopen_shards(origin, verify=verify)
    return Dataset(Selection(cache, KeyLookup(cache), positions), verify=verify)


def open_dataset(
    store: Store,
    *,
    verify: bool | None = None,
    sidecars: Store | None = None,
    generation: int | None = None,
    options: LocationOptions | None = None,
    limits: CacheLimits | None = None,
) -> Dataset:
    """Return the dataset in a store. Arguments and errors as for `open_shards`."""
    cache = open_shards(store, verify=verify, sidecars=sidecars, generation=generation, options=options, limits=limits)
    return Dataset(Selection(cache, KeyLookup(cache)), verify=verify)
