"""The tars of a dataset as foreign indexes describe them: whole, plain, in one place.

dataset --checks--> shards --members()--> names and offsets, from our index;  --hashes()--> by reading the tar
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from shardpack.errors import OptionError
from shardpack.export.exporter import Exportable, ExportOptions
from shardpack.export.indexes.header_names import with_stored_names
from shardpack.export.indexes.shard_members import ShardMembers, members_of
from shardpack.export.indexes.tar_hashes import TarHashes, hash_tar
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.manifest import Manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.order.runs import Runs
from shardpack.read.named_splits import NamedSplits
from shardpack.runtime.progress import Advance, ByteProgress, Progress, no_advance, no_progress
from shardpack.storage.protocols import Store
from shardpack.storage.transfer import checked_pieces, read_object
from shardpack.storage.url import is_url

Hasher = Callable[..., TarHashes]  # as `IndexSource.hashes`
_SHARDS_AT_ONCE = 16  # indexes that are fetched together


class IndexSource:
    """The tars of a dataset.

    Attributes:
        shards: As the shard table lists them.
        names: Names of the tars, relative to their folder.
        splits: Split -> its tars; empty if the dataset has no splits.
        manifest, classes: Those of the dataset.
    """

    def __init__(self, dataset: Exportable, options: ExportOptions, *, to: str, beside: bool) -> None:
        """Look at the tars of a dataset; reads the shard table.

        Args:
            dataset: The dataset.
            options: What the user chose; nothing but hashes applies to whole tars.
            to: Name of the format, for errors.
            beside: Whether the files go where the tars are.

        Raises:
            OptionError: It is a view, or its tars are compressed, in several places, or not in its folder; or an option
                does not apply; or a tar holds only a part of a split.
        """
        if replace(options, hashes=False) != ExportOptions():
            raise OptionError(
                f"{to} describes whole tars, so that no sample or field can be chosen; leave the options out"
            )
        opened = dataset.stream_input()
        if opened.positions is not None:
            raise OptionError(
                f"{to} describes whole tars, and this is a view of some samples; pack the view first: "
                "shardpack.pack(view, OUT)"
            )
        if opened.cache.manifest.deleted:
            raise OptionError(
                f"{to} describes whole tars, and {opened.cache.manifest.num_deleted:,} deleted samples are still in "
                'these; pack what is left first: "shardpack pack DS OUT"'
            )
        if opened.cache.manifest.layers:
            raise OptionError(
                f"{to} describes whole tars, and these have none of the fields of layers; "
                'pack the dataset with its layers first: "shardpack pack DS OUT"'
            )
        self._cache = opened.cache
        self.manifest: Manifest = opened.cache.manifest
        self.classes = dataset.classes
        self.shards: Sequence[ShardInfo] = list(opened.cache.shard_list)
        self.names = [shard.name for shard in self.shards]
        self.splits: Mapping[str, Sequence[str]] = tars_of_splits(_ranges_of(opened.cache.splits), self.shards, to)
        self._location = dataset.location
        if len({shard.location for shard in self.shards}) > 1:
            raise OptionError(
                f"{to} describes tars in one place, and those of this dataset are in several; copy them together "
                'first: "shardpack copy DS OUT"'
            )
        compressed = next((name for name in self.names if name.endswith(COMPRESSED_SUFFIX)), None)
        if compressed is not None:
            raise OptionError(
                f"{to} reads plain tars only, and {compressed!r} is compressed; pack the dataset without: "
                '"shardpack pack DS OUT"'
            )
        if beside and not self._tars_are_in(dataset.location):
            raise OptionError(f"the tars of this dataset are not in {dataset.location!r}; name a folder, OUT")

    @property
    def was_indexed(self) -> bool:
        """Whether another tool may have written the tars, so that their headers differ from those we write."""
        options = self.manifest.packed_with.get("options")
        return bool(self.manifest.option("indexed")) or not isinstance(options, dict)

    @property
    def folder(self) -> str | None:
        """The folder of the tars on this machine, or None."""
        return self._store.folder

    @property
    def tars_url(self) -> str:
        """The folder or URL of the tars."""
        return self._store.folder or self._store.location

    @property
    def title(self) -> str:
        """A name for the dataset: that of its folder."""
        location = self._location if is_url(self._location) else os.path.abspath(self._location)
        return location.rstrip("/").replace(os.sep, "/").rpartition("/")[2] or "dataset"

    @cached_property
    def _store(self) -> Store:
        stores = self._cache.stores
        return stores.of(self.shards[0]) if self.shards else stores.sidecars

    def _tars_are_in(self, location: str) -> bool:
        folder = self._store.folder
        return folder is not None and not is_url(location) and os.path.realpath(folder) == os.path.realpath(location)

    def store(self) -> Store:
        """Return the store of the tars."""
        return self._store

    def members(self, progress: Progress = no_progress) -> Iterator[ShardMembers]:
        """Yield the members of each tar, in order. Reads indexes; of tars of other tools, headers as well.

        Calls progress("export", samples, total samples) on the way.

        Raises:
            StaleIndexError: A tar is not the one that its index describes.
        """
        numbers, done = range(len(self.shards)), 0
        for begin in numbers[::_SHARDS_AT_ONCE]:
            for shard in self._cache.load(numbers[begin : begin + _SHARDS_AT_ONCE]):
                members = members_of(shard.index, shard.info.name)
                yield with_stored_names(members, shard.store) if self.was_indexed else members
                done += members.num_samples
                progress("export", done, self.manifest.num_samples)

    def hasher(self, progress: Progress) -> Hasher:
        """Return a function that hashes tars, and calls progress("hash", bytes, total bytes)."""
        return partial(self.hashes, advance=ByteProgress("hash", self.manifest.num_bytes, progress).advance)

    def hashes(self, number: int, members: ShardMembers | None = None, *, advance: Advance = no_advance) -> TarHashes:
        """Return the hashes of one tar, and of its members if these are given; reads the tar from end to end.

        Raises:
            CorruptShardError: The tar is not the one that was indexed.
        """
        info, store = self.shards[number], self._store
        pieces = checked_pieces(
            read_object(store, info.name, info.num_bytes),
            info.name,
            num_bytes=info.num_bytes,
            checksum=info.crc32c,
            location=store.location,
        )
        return hash_tar(_counted(pieces, advance), info.num_bytes, members)


def _counted(pieces: Iterable[Any], advance: Advance) -> Iterator[Any]:
    for piece in pieces:
        yield piece
        advance(len(piece))


def _ranges_of(splits: NamedSplits | None) -> dict[str, Runs]:
    return {} if splits is None else {name: splits.positions(name) for name in splits.names}


def tars_of_splits(splits: Mapping[str, Runs], shards: Sequence[ShardInfo], to: str) -> dict[str, list[str]]:
    """Return the names of the tars of each split, given its positions.

    Raises:
        OptionError: A split begins or ends inside a tar.
    """
    tars: dict[str, list[str]] = {}
    starts = np.cumsum([0, *(shard.num_samples for shard in shards)])
    for name, runs in splits.items():
        edges = np.stack([runs.begin, runs.begin + runs.count])
        first, stop = np.searchsorted(starts, edges)
        if not (starts[np.stack([first, stop])] == edges).all():
            raise OptionError(
                f"{to} gives each split tars of its own, and split {name!r} begins or ends inside a tar; pack the "
                'dataset again: "shardpack pack DS OUT"'
            )
        bounds = zip(first.tolist(), stop.tolist(), strict=True)
        tars[name] = [shard.name for begin, end in bounds for shard in shards[begin:end]]
    return tars
