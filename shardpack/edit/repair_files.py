"""Files that a manifest names and that are missing or damaged, made again from the tars, byte for byte.

tars --scan--> index of a shard --> shard table, key index           (compared with the checksums of the manifest)
names of shards --> named splits

What is written has the name and the checksum that the manifest states, so that a file that is whole stays as it is, two
repairs at once write the same bytes, and one that is killed leaves nothing that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby, islice, permutations

import numpy as np
import numpy.typing as npt

from shardpack.commit.generations import generation_at
from shardpack.commit.target import Target
from shardpack.edit.broken_tars import find_broken_layers, find_broken_tars
from shardpack.edit.lost_generations import find_lost_generations
from shardpack.edit.repair_plan import RepairPlan, refuse_edited
from shardpack.errors import FormatError, ShardpackError
from shardpack.format.assemble import encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.layout import (
    MANIFEST_PATH,
    NamedFile,
    file_path,
    generation_of,
    in_packed_order,
    is_index_path,
    is_packer_name,
    manifest_path,
    shard_of_index,
    tag_of_shard,
)
from shardpack.format.manifest import OWN_FOLDER, Manifest, TableSegment
from shardpack.format.named_files import Parts, encode_keys, encode_splits_file, encode_table
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import splits_of_shards
from shardpack.index.find import SUFFIXES
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE, IndexedTar
from shardpack.index.header_scan import scan_headers
from shardpack.read.deleted_samples import load_visible
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress
from shardpack.storage.locations import DatasetStores, LocationOptions, open_locations
from shardpack.storage.protocols import Store, WritableStore

_Made = dict[str, Parts]
_Place = tuple[int, str]  # number of a location, name of a tar there
_MOST_ORDERS = 120  # of the inputs of a merged dataset that are tried: all of 5


class FileRepair:
    """Plans how the files of one manifest are made again; writes nothing. Not thread-safe."""

    def __init__(
        self,
        store: WritableStore,
        target: Target,
        text: bytes,
        manifest: Manifest,
        *,
        options: LocationOptions,
        progress: Progress,
    ) -> None:
        self._store, self._target, self._text, self._manifest = store, target, text, manifest
        self._options, self._progress = options, progress
        self._made: _Made = {}  # files that are not as the manifest says, made again
        self._lost: list[str] = []
        self._scanned: dict[tuple[str, str], IndexedTar] = {}  # by location of the store, and name
        self._hashes: npt.NDArray[np.uint64] | None = None  # of all keys, once needed

    def plan(self, *, force: bool) -> RepairPlan:
        """Return what can be made again, and what is lost. To be called once.

        A damaged file is replaced with `force` only.

        Raises:
            OutputExistsError: The dataset was edited or replaced meanwhile.
        """
        shards = self._shards()
        stores = open_locations(self._store, self._manifest.locations, self._options)
        if shards is not None:
            self._make_indexes(stores, shards)
            self._make_keys(shards)
            self._make_splits(shards)
        has_table = self._check_others()
        self._lost += find_broken_layers(self._store, self._manifest, self._options)
        behind = find_lost_generations(self._target, self._manifest, shards)
        gives_up = force and behind is not None
        if behind is not None:
            self._lost += behind.sentences(goes_back=gives_up)
        files = []
        for path, parts in [*self._made.items(), *(self._manifests() if behind is None or gives_up else ())]:
            if self._target.size(path) is not None and not (force or path == MANIFEST_PATH):
                self._lost.append(f"{path}: it is damaged, and could be made again; replace it with --force")
            else:
                files.append((path, parts))
        broken: Sequence[int] = ()
        if shards is not None:
            broken = self._broken(stores, shards, {path for path, _ in files})
        refuse_edited(self._target, self._text)
        return RepairPlan(
            self._text,
            files,
            unwanted=behind.in_the_way if behind is not None and gives_up else (),
            lost=self._lost,
            broken=broken if behind is None or gives_up else (),  # nothing may follow a generation that is not the last
            has_table=has_table,
        )

    def _broken(self, stores: DatasetStores, shards: Sequence[ShardInfo], repaired: Container[str]) -> list[int]:
        """Return the shards whose tars break off; none if a file is lost that tells what becomes of their samples."""
        found = find_broken_tars(stores, self._manifest, shards, self._deleted())
        self._lost += found.lost
        waits_for = [
            file_path(file)
            for file in self._manifest.files
            if file not in self._manifest.table and file_path(file) not in repaired and not self._is_whole(file)
        ]
        if not waits_for:
            return found.broken
        if found.broken:
            self._lost.append(
                f"samples of {len(found.broken)} tar(s) that break off: they are saved by another repair, once these "
                f"are whole, or no longer needed: {', '.join(waits_for)}"
            )
        return []

    def _manifests(self) -> Iterator[tuple[str, Parts]]:
        """Yield the manifest of the generation, and its copy, where they are not as they should be."""
        for path in (manifest_path(self._manifest.generation), MANIFEST_PATH):
            if self._target.read(path) != self._text:
                yield path, [self._text]

    # Shard table

    def _shards(self) -> list[ShardInfo] | None:
        """Return all shards; None if the table cannot be made again."""
        for segment in self._manifest.table_segments:
            if not self._is_whole(segment) and not self._make_table(segment):
                return None
        try:
            return list(ShardTable.whole(self._manifest, self._read))
        except FormatError as error:
            self._lost.append(f"the shard table: {error}")
            return None

    def _make_table(self, segment: TableSegment) -> bool:
        path, found = file_path(segment), False
        generation = generation_of(path)
        for shards in self._guesses(generation):
            if len(shards) != segment.num_shards:
                continue
            try:
                infos = [self._described(location, name) for location, name in shards]
            except ShardpackError as error:
                self._lost.append(f"{path}: {error}")
                return False
            again, parts = encode_table(infos, generation=generation)
            if found := again == segment:
                self._made[path] = parts
                break
        if not found:
            self._lost.append(
                f"{path}: which tars it lists, and in which order, nothing tells; restore this file, or tars that are "
                "missing, from a backup"
            )
        return found

    def _guesses(self, generation: int) -> Iterator[list[_Place]]:
        """Yield lists of tars that a segment may list: those of its generation in packed order, or all by name.

        Of a merged dataset those of its inputs, one after another: in other locations, as their indexes tell, or copied
        under a tag for each, which does not tell their order.
        """
        tars = sorted(name for name in self._target.names() if name.endswith(SUFFIXES) and not name.startswith("."))
        own = [name for name in tars if is_packer_name(name) and _generation_of_tag(name) == generation]
        yield [(self._own, name) for name in in_packed_order(own)]
        if self._manifest.option("indexed"):
            yield [(self._own, name) for name in tars]
        if generation == 1 and self._manifest.option("merged"):
            by_tag = [[(self._own, name) for name in names] for names in _by_tag(own)]
            for order in islice(permutations(by_tag), _MOST_ORDERS):
                yield [*chain.from_iterable(order)]
            yield self._indexed()

    @property
    def _own(self) -> int:
        """Number of the location that is the dataset's own folder; 0 if none is."""
        return self._manifest.locations.index(OWN_FOLDER) if OWN_FOLDER in self._manifest.locations else 0

    def _indexed(self) -> list[_Place]:
        """Return the shards in other locations that have an index, by location and in packed order, or else by name."""
        names: dict[int, list[str]] = {}
        for path in filter(is_index_path, self._target.names()):
            location, name = shard_of_index(path)
            if location < len(self._manifest.locations) and self._manifest.locations[location] != OWN_FOLDER:
                names.setdefault(location, []).append(name)
        return [
            (location, name)
            for location, found in sorted(names.items())
            for name in (in_packed_order(found) if all(map(is_packer_name, found)) else sorted(found))
        ]

    def _described(self, location: int, name: str) -> ShardInfo:
        stores = open_locations(self._store, self._manifest.locations, self._options)
        index = self._scan(stores.tars[location], name, checksums=True).index
        return encode_shard(name, index, location=location)[0]

    # Indexes

    def _make_indexes(self, stores: DatasetStores, shards: Sequence[ShardInfo]) -> None:
        total = sum(info.num_bytes for info in shards)
        done = 0
        for info in shards:
            if not self._matches(info.index_path, info.index_bytes, info.index_crc32c):
                self._make_index(stores.tars[info.location], info)
            done += info.num_bytes
            self._progress("index", done, total)

    def _make_index(self, store: Store, info: ShardInfo) -> None:
        try:
            scanned = self._scan(store, info.name, checksums=info.crc32c is not None)
        except ShardpackError as error:
            self._lost.append(f"{info.index_path}: {error}")
            return
        again, parts = encode_shard(info.name, scanned.index, location=info.location)
        if (again.index_bytes, again.index_crc32c) == (info.index_bytes, info.index_crc32c):
            self._made[info.index_path] = parts
        else:
            self._lost.append(
                f"{info.index_path}: the tar {info.name!r} is not the one that was packed; restore it from a backup"
            )

    def _scan(self, store: Store, name: str, *, checksums: bool) -> IndexedTar:
        known = self._scanned.get((store.location, name))
        if known is None:
            if is_compressed(name):
                known = scan_compressed(store, name, ignore=DEFAULT_IGNORE)
            elif store.folder is not None and checksums:
                known = scan_whole(TarFile(store.folder, name, DEFAULT_IGNORE))
            else:
                known = scan_headers(store, name, ignore=DEFAULT_IGNORE, checksums=checksums)
            self._scanned[store.location, name] = known
        return known

    def _deleted(self) -> Integers:
        """Return the stored positions of deleted samples, ascending; none if their files are lost, which is told."""
        try:
            visible = load_visible(self._store, self._manifest)
        except ShardpackError:
            visible = None
        return np.zeros(0, np.int64) if visible is None else visible.deleted

    # Keys, splits

    def _make_keys(self, shards: Sequence[ShardInfo]) -> None:
        begin = 0
        for segment in self._manifest.key_segments:
            end = begin + segment.num_keys
            if not self._is_whole(segment):
                self._make_file(segment, partial(self._encode_keys, shards, begin, end))
            begin = end

    def _encode_keys(
        self, shards: Sequence[ShardInfo], begin: int, end: int, generation: int
    ) -> tuple[NamedFile, Parts]:
        """Return the segment of the keys of some stored positions; raise FormatError if an index is lost."""
        if self._hashes is None:
            indexes = (parse_index(self._read(info.index_path) or b"", name=info.index_path) for info in shards)
            self._hashes = np.concatenate([index.key_hashes() for index in indexes])
        return encode_keys(self._hashes[begin:end], generation=generation)

    def _make_splits(self, shards: Sequence[ShardInfo]) -> None:
        file = self._manifest.splits
        if file is None or self._is_whole(file):
            return
        splits = splits_of_shards(shards)
        if splits is None:
            self._lost.append(f'{file_path(file)}: named splits; make them again with "shardpack split --force"')
        else:
            self._make_file(file, lambda generation: encode_splits_file(splits, generation=generation))

    def _make_file(self, file: NamedFile, encode: Callable[[int], tuple[NamedFile, Parts]]) -> None:
        """Make a file again, if it becomes what the manifest says."""
        path = file_path(file)
        try:
            again, parts = encode(generation_of(path))
        except FormatError as error:
            self._lost.append(f"{path}: {error}")
            return
        if (again.name, again.num_bytes, again.crc32c) == (file.name, file.num_bytes, file.crc32c):
            self._made[path] = parts
        else:
            self._lost.append(f"{path}: what tars and names of shards tell is something else; restore it from a backup")

    # What tars cannot tell

    def _check_others(self) -> bool:
        """Tell which of these files are lost; return whether the label table is whole."""
        way_back = "" if all(map(self._is_whole, self._manifest.deleted)) else self._way_back()
        others: list[tuple[Iterable[NamedFile], str]] = [
            (self._manifest.deleted, f"which samples were deleted; restore it{way_back}"),
            (
                [layer.positions for layer in self._manifest.layers],
                'which samples a layer changes; restore it, or detach the layer with "shardpack detach"',
            ),
            (self._manifest.table, 'the label table; make it again with "shardpack table --force"'),
        ]
        for files, what in others:
            self._lost += [f"{file_path(file)}: {what}" for file in files if not self._is_whole(file)]
        return all(map(self._is_whole, self._manifest.table))

    def _way_back(self) -> str:
        """Return how to go on with the newest earlier generation all of whose files are whole; nothing if none is."""
        for number in range(self._manifest.generation - 1, 0, -1):
            found = generation_at(self._target, number)
            if found is not None and all(map(self._is_whole, found.manifest.files)):
                return (
                    f", or give up what was edited after generation {number}: move {MANIFEST_PATH} away, and the "
                    f"manifests of later ones that are beside {manifest_path(number)}, then run "
                    '"shardpack repair --force"'
                )
        return ""

    # Files

    def _is_whole(self, file: NamedFile) -> bool:
        return self._matches(file_path(file), file.num_bytes, file.crc32c)

    def _matches(self, path: str, num_bytes: int, checksum: int) -> bool:
        if self._target.size(path) != num_bytes:
            return False
        return crc32c(self._target.read(path) or b"") == checksum

    def _read(self, path: str) -> bytes | None:
        """Return a file, as it is or as it was made again."""
        made = self._made.get(path)
        return self._target.read(path) if made is None else b"".join(made)


def _by_tag(names: Iterable[str]) -> list[list[str]]:
    """Return names of packed shards in packed order, those of each tag by themselves."""
    return [list(group) for _, group in groupby(in_packed_order(names), tag_of_shard)]


def _generation_of_tag(name: str) -> int:
    """Return the generation that added a packed shard."""
    tag = tag_of_shard(name)
    return 1 if tag is None else int(tag[1:].partition("-")[0])
