"""Files that a manifest names and that are missing or damaged, made again from the tars, byte for byte.

tars --scan--> index of a shard --> shard table, key index           (compared with the checksums of the manifest)
names of shards --> named splits

What is written has the name and the checksum that the manifest states, so that a file that is whole stays as it is, two
repairs at once write the same bytes, and one that is killed leaves nothing that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from shardpack.commit.generations import Generation, generation_at
from shardpack.commit.target import Target
from shardpack.edit.broken_tars import BrokenTars, find_broken_layers, find_broken_tars
from shardpack.edit.lost_generations import find_lost_generations
from shardpack.edit.repair_plan import RepairPlan, refuse_edited
from shardpack.edit.table_guesses import Place, guess_tables
from shardpack.errors import FormatError, ShardpackError
from shardpack.format.assemble import encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.layout import (
    MANIFEST_PATH,
    NamedFile,
    file_path,
    generation_of,
    manifest_path,
)
from shardpack.format.manifest import TableSegment
from shardpack.format.named_files import Parts, encode_keys, encode_splits_file, encode_table
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import splits_of_shards
from shardpack.index.frame_scan import is_compressed, scan_compressed
from shardpack.index.full_scan import TarFile, scan_whole
from shardpack.index.grouping import DEFAULT_IGNORE, IndexedTar
from shardpack.index.header_scan import scan_headers
from shardpack.read.deleted_samples import load_visible
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress
from shardpack.storage.locations import DatasetStores, LocationOptions, open_locations
from shardpack.storage.protocols import Store, WritableStore

_Read = Callable[[str], bytes | None]


@dataclass(slots=True)
class _Remade:
    """What becomes of files that are not as the manifest says.

    Attributes:
        files: Those that are made again, by name.
        lost: What cannot be made again, each in a sentence.
    """

    files: dict[str, Parts] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def __iadd__(self, other: _Remade) -> _Remade:
        self.files |= other.files
        self.lost += other.lost
        return self


class FileRepair:
    """Plans how the files of one manifest are made again; writes nothing. Not thread-safe."""

    def __init__(
        self,
        store: WritableStore,
        target: Target,
        newest: Generation,
        *,
        options: LocationOptions,
        progress: Progress,
    ) -> None:
        self._store, self._target, self._text, self._manifest = store, target, newest.text, newest.manifest
        self._options, self._progress = options, progress
        self._scanned: dict[tuple[str, str], IndexedTar] = {}  # by location of the store, and name

    def plan(self, *, force: bool) -> RepairPlan:
        """Return what can be made again, and what is lost.

        A damaged file is replaced with `force` only.

        Raises:
            OutputExistsError: The dataset was edited or replaced meanwhile.
        """
        stores = open_locations(self._store, self._manifest.locations, self._options)
        found, shards = self._shard_table(stores)
        if shards is not None:
            found += self._indexes(stores, shards)
            found += self._keys(shards, found.files)
            found += self._splits(shards)
        found.lost += self._lost_for_tars()
        found.lost += find_broken_layers(self._store, self._manifest, self._options)
        behind = find_lost_generations(self._target, self._manifest, shards)
        if behind is None or force:
            found.files |= self._manifests()
        if behind is not None:
            found.lost += behind.sentences(goes_back=force)
        files = {path: parts for path, parts in found.files.items() if self._may_write(path, force=force)}
        found.lost += [
            f"{path}: it is damaged, and could be made again; replace it with --force"
            for path in found.files
            if path not in files
        ]
        broken = BrokenTars() if shards is None else self._broken_tars(stores, shards, files)
        refuse_edited(self._target, self._text)
        return RepairPlan(
            self._text,
            list(files.items()),
            unwanted=behind.in_the_way if behind is not None and force else (),
            lost=[*found.lost, *broken.lost],
            broken=broken.broken if behind is None or force else (),  # nothing may follow one that is not the last
            has_table=all(map(self._is_whole, self._manifest.table)),
        )

    def _may_write(self, path: str, *, force: bool) -> bool:
        """Return whether a file is missing, or may be replaced."""
        return force or path == MANIFEST_PATH or self._target.size(path) is None

    def _manifests(self) -> dict[str, Parts]:
        """Return the manifest of the generation, and its copy, where they are not as they should be."""
        paths = (manifest_path(self._manifest.generation), MANIFEST_PATH)
        return {path: [self._text] for path in paths if self._target.read(path) != self._text}

    # Shard table

    def _shard_table(self, stores: DatasetStores) -> tuple[_Remade, list[ShardInfo] | None]:
        """Return the segments that are made again, and all shards; None if a segment is lost."""
        found = _Remade()
        for segment in self._manifest.table_segments:
            if not self._is_whole(segment):
                found += self._segment(stores, segment)
            if found.lost:
                return found, None
        try:
            return found, list(ShardTable.whole(self._manifest, self._reader(found.files)))
        except FormatError as error:
            found.lost.append(f"the shard table: {error}")
            return found, None

    def _segment(self, stores: DatasetStores, segment: TableSegment) -> _Remade:
        path = file_path(segment)
        generation = generation_of(path)
        for places in guess_tables(self._manifest, self._target.names(), generation):
            if len(places) != segment.num_shards:
                continue
            try:
                infos = [self._described(stores, place) for place in places]
            except ShardpackError as error:
                return _Remade(lost=[f"{path}: {error}"])
            again, parts = encode_table(infos, generation=generation)
            if again == segment:
                return _Remade({path: parts})
        what = "which tars it lists, and in which order, nothing tells"
        return _Remade(lost=[f"{path}: {what}; restore this file, or tars that are missing, from a backup"])

    def _described(self, stores: DatasetStores, place: Place) -> ShardInfo:
        index = self._scan(stores.tars[place.location], place.name, checksums=True).index
        return encode_shard(place.name, index, location=place.location)[0]

    # Indexes

    def _indexes(self, stores: DatasetStores, shards: Sequence[ShardInfo]) -> _Remade:
        found, total, done = _Remade(), sum(info.num_bytes for info in shards), 0
        for info in shards:
            if not self._matches(info.index_path, info.index_bytes, info.index_crc32c):
                found += self._index(stores.tars[info.location], info)
            done += info.num_bytes
            self._progress("index", done, total)
        return found

    def _index(self, store: Store, info: ShardInfo) -> _Remade:
        try:
            scanned = self._scan(store, info.name, checksums=info.crc32c is not None)
        except ShardpackError as error:
            return _Remade(lost=[f"{info.index_path}: {error}"])
        again, parts = encode_shard(info.name, scanned.index, location=info.location)
        if (again.index_bytes, again.index_crc32c) == (info.index_bytes, info.index_crc32c):
            return _Remade({info.index_path: parts})
        what = f"the tar {info.name!r} is not the one that was packed"
        return _Remade(lost=[f"{info.index_path}: {what}; restore it from a backup"])

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

    # Keys, splits

    def _keys(self, shards: Sequence[ShardInfo], remade: Mapping[str, Parts]) -> _Remade:
        """Return the segments of the key index that are made again of the indexes, of which some are `remade`."""
        found, begin = _Remade(), 0
        hashes = cache(partial(_key_hashes, shards, self._reader(remade)))
        for segment in self._manifest.key_segments:
            end = begin + segment.num_keys
            if not self._is_whole(segment):
                encode = partial(_encode_keys, hashes, slice(begin, end))
                found += self._file(segment, encode)
            begin = end
        return found

    def _splits(self, shards: Sequence[ShardInfo]) -> _Remade:
        file = self._manifest.splits
        if file is None or self._is_whole(file):
            return _Remade()
        if (splits := splits_of_shards(shards)) is not None:
            return self._file(file, partial(encode_splits_file, splits))
        return _Remade(lost=[f'{file_path(file)}: named splits; make them again with "shardpack split --force"'])

    def _file(self, file: NamedFile, encode: Callable[..., tuple[NamedFile, Parts]]) -> _Remade:
        """Return a file made again by `encode(generation=...)`, if it becomes what the manifest says."""
        path = file_path(file)
        try:
            again, parts = encode(generation=generation_of(path))
        except FormatError as error:
            return _Remade(lost=[f"{path}: {error}"])
        if (again.name, again.num_bytes, again.crc32c) == (file.name, file.num_bytes, file.crc32c):
            return _Remade({path: parts})
        what = "what tars and names of shards tell is something else"
        return _Remade(lost=[f"{path}: {what}; restore it from a backup"])

    # What tars cannot tell

    def _lost_for_tars(self) -> Iterator[str]:
        """Yield which files are lost that no tar tells anything of, each in a sentence."""
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
            yield from (f"{file_path(file)}: {what}" for file in files if not self._is_whole(file))

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

    # Tars

    def _broken_tars(self, stores: DatasetStores, shards: Sequence[ShardInfo], repaired: Container[str]) -> BrokenTars:
        """Return the shards whose tars break off; none if a file is lost that tells what becomes of their samples."""
        found = find_broken_tars(stores, self._manifest, shards, self._deleted())
        waits_for = [
            file_path(file)
            for file in self._manifest.files
            if file not in self._manifest.table and file_path(file) not in repaired and not self._is_whole(file)
        ]
        if not (found.broken and waits_for):
            return found
        what = f"samples of {len(found.broken)} tar(s) that break off"
        advice = f"they are saved by another repair, once these are whole, or no longer needed: {', '.join(waits_for)}"
        return BrokenTars(lost=[*found.lost, f"{what}: {advice}"])

    def _deleted(self) -> Integers:
        """Return the stored positions of deleted samples, ascending; none if their files are lost, which is told."""
        try:
            visible = load_visible(self._store, self._manifest)
        except ShardpackError:
            visible = None
        return np.zeros(0, np.int64) if visible is None else visible.deleted

    # Files

    def _is_whole(self, file: NamedFile) -> bool:
        return self._matches(file_path(file), file.num_bytes, file.crc32c)

    def _matches(self, path: str, num_bytes: int, checksum: int) -> bool:
        if self._target.size(path) != num_bytes:
            return False
        return crc32c(self._target.read(path) or b"") == checksum

    def _reader(self, remade: Mapping[str, Parts]) -> _Read:
        """Return what reads a file, as it is or as it was made again."""
        return lambda path: b"".join(remade[path]) if path in remade else self._target.read(path)


def _key_hashes(shards: Sequence[ShardInfo], read: _Read) -> npt.NDArray[np.uint64]:
    """Return the hashes of all keys in stored order; raise FormatError if an index is lost."""
    indexes = (parse_index(read(info.index_path) or b"", name=info.index_path) for info in shards)
    return np.concatenate([index.key_hashes() for index in indexes])


def _encode_keys(
    hashes: Callable[[], npt.NDArray[np.uint64]], positions: slice, *, generation: int
) -> tuple[NamedFile, Parts]:
    return encode_keys(hashes()[positions], generation=generation)
