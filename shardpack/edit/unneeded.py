"""Which files of a dataset no generation needs that is kept. Reads manifests and shard tables; writes nothing.

manifests of the generations that are kept -> names of all their files
listing - these - what an edit may still use that can go on - what is not ours -> files to delete
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from shardpack.commit.edit_folder import CLAIM, NOTE, folder_of_edit
from shardpack.commit.edit_shards import is_edit_shard, maybe_committed
from shardpack.commit.generations import Generation, generation_at
from shardpack.commit.target import Target
from shardpack.edit.unfinished_edits import find_unfinished_edits
from shardpack.errors import CorruptManifestError, OptionError, ShardNotFoundError
from shardpack.format.layout import (
    MANIFEST_PATH,
    file_path,
    generation_of,
    is_index_path,
    is_layer_path,
    is_packer_name,
    manifest_path,
    tag_of_shard,
)
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.format.shard_table import ShardTable
from shardpack.storage.protocols import Listed


@dataclass(frozen=True, slots=True)
class Unneeded:
    """What may be deleted.

    Attributes:
        kept: Numbers of the generations that are kept, descending.
        generations: Numbers of those that are deleted, ascending.
        manifests: Their manifests, to be deleted first.
        files: All other files that no generation needs that is kept.
        num_young: How many such files stay because they are too young.
    """

    kept: tuple[int, ...]
    generations: tuple[int, ...]
    manifests: tuple[Listed, ...]
    files: tuple[Listed, ...]
    num_young: int


def find_unneeded(
    target: Target,
    newest: Generation,
    listed: Sequence[Listed],
    *,
    keep: int,
    written_before: float | None,
    silent_before: float | None,
) -> Unneeded:
    """Return what may be deleted, and what is kept.

    Args:
        target: The dataset.
        newest: Its newest generation.
        listed: Everything in its folder.
        keep: How many generations are kept at least; one that misses a file does not count.
        written_before: Only what was written before this time may be deleted, and only generations that were followed
            by another one before it; in seconds since 1970. None: whatever its time.
        silent_before: An unfinished edit for which something was written since this time may be under way. None: a lock
            tells that none is.

    Raises:
        OptionError: There is a time limit, and the store tells no times.
        CorruptManifestError: The manifest of a generation that is kept is damaged.
        CorruptIndexError: The shard table of a generation that is kept is damaged.
        ShardNotFoundError: A sidecar of the newest generation is missing, and earlier ones would be deleted.
    """
    made = {number: one for one in listed if (number := _number_of(one.path)) and number <= newest.manifest.generation}
    paths = {one.path: one for one in listed}
    made.setdefault(newest.manifest.generation, paths[MANIFEST_PATH])
    numbers = sorted(made, reverse=True)
    kept, manifests, num_whole = numbers[:1], [newest.manifest], 1
    for number in numbers[1:]:
        # The readers of a generation had to open it before the next one was made.
        if num_whole >= keep and _is_old(made[kept[-1]], written_before):
            break
        kept.append(number)
        manifests.append(_manifest(target, number))
        num_whole += _missing(manifests[-1], paths) is None
    generations = tuple(reversed(numbers[len(kept) :]))
    if generations and (missing := _missing(newest.manifest, paths)) is not None:
        raise ShardNotFoundError(
            f"generation {newest.manifest.generation} misses a file, so that earlier ones may be all that can be read; "
            'restore it, or run "shardpack repair"; nothing was deleted',
            path=missing,
        )
    needed = set(_names_of(manifests, target))
    folders = tuple(f"{folder}/" for manifest in manifests for folder in _layer_folders(manifest))
    droppable = _packed_shards(_manifests(target, generations), target) - needed
    following = newest.manifest.generation + 1
    edits = find_unfinished_edits(
        target,
        listed,
        lambda one: _is_silent(one, silent_before) and _is_old(one, written_before),
        generation=following,
    )
    awaited = following if edits.tags else None
    uncommitted = {path for path in paths if tag_of_shard(path) in edits.tags_given_up} - needed
    of_edits = {path for path in paths if is_edit_shard(path, paths)} - needed - droppable - uncommitted
    spared = maybe_committed(
        of_edits,
        paths.keys() - needed,
        target.read,
        newest=newest.manifest.generation,
        is_indexed=any(manifest.option("indexed") for manifest in manifests),
    )
    deletable = droppable | uncommitted | of_edits
    unneeded = [
        one
        for one in listed
        if one.path not in needed
        and one.path not in spared
        and not one.path.startswith(folders)
        and (_is_sidecar(one.path) or one.path in deletable or folder_of_edit(one.path) in edits.given_up)
        and not any(tag in one.path for tag in edits.tags)
        and (awaited is None or generation_of(one.path) != awaited)
    ]
    old = sorted((one for one in unneeded if _is_old(one, written_before)), key=lambda one: _turn(one.path))
    return Unneeded(
        kept=tuple(kept),
        generations=generations,
        manifests=tuple(made[number] for number in generations),
        files=tuple(old),
        num_young=len(unneeded) - len(old),
    )


def _missing(manifest: Manifest, paths: Collection[str]) -> str | None:
    """Return a file without which a generation cannot be opened, and that is not there; None if all are."""
    layers = (f"{folder}/{MANIFEST_PATH}" for folder in _layer_folders(manifest))
    return next((path for path in (*map(file_path, manifest.files), *layers) if path not in paths), None)


def _manifest(target: Target, number: int) -> Manifest:
    """Return the manifest of a generation that is kept.

    Raises:
        CorruptManifestError: It is damaged.
    """
    found = generation_at(target, number)
    if found is None:
        raise CorruptManifestError(
            f"the manifest of generation {number}, which is kept, is damaged, so that it is not known which files it "
            "needs; restore it, or remove all earlier generations, however young (--older-than 0 without --keep); "
            "nothing was deleted",
            path=manifest_path(number),
        )
    return found.manifest


def _number_of(path: str) -> int:
    """Return the generation whose manifest has this path; 0 if it is another file."""
    number = generation_of(path)
    return number if number and path == manifest_path(number) else 0


def _is_silent(one: Listed, silent_before: float | None) -> bool:
    return silent_before is None or (one.modified is not None and one.modified < silent_before)


def _is_old(one: Listed, written_before: float | None) -> bool:
    if written_before is None:
        return True
    if one.modified is None:
        raise OptionError(
            "this place does not tell when files were written; pass older_than=0 (--older-than 0) if nobody edits the "
            "dataset now, or reads an earlier generation"
        )
    return one.modified < written_before


def _manifests(target: Target, numbers: Collection[int]) -> list[Manifest]:
    """Return the manifests of generations, without those that are damaged: nobody can open these."""
    return [one.manifest for number in numbers if (one := generation_at(target, number)) is not None]


def _names_of(manifests: Sequence[Manifest], target: Target) -> Iterator[str]:
    """Yield the paths of all files that these manifests name in the dataset's folder."""
    seen: set[str] = set()
    for manifest in manifests:
        yield from manifest.metadata_paths
        new = tuple(segment for segment in manifest.table_segments if segment.name not in seen)
        seen.update(segment.name for segment in new)
        for info in ShardTable.whole(replace(manifest, table_segments=new), target.read):
            yield info.index_path
            if manifest.locations[info.location] == OWN_FOLDER:
                yield info.name


def _packed_shards(manifests: Sequence[Manifest], target: Target) -> set[str]:
    """Return the tars that a packer wrote for these manifests; tars that were indexed are the user's."""
    packed = [manifest for manifest in manifests if not manifest.option("indexed")]
    return set(filter(is_packer_name, _names_of(packed, target)))


def _layer_folders(manifest: Manifest) -> Iterator[str]:
    """Yield the folders of layers that edits made: paths in the dataset's own folder."""
    for layer in manifest.layers:
        if "://" not in layer.location and is_layer_path(folder := posixpath.normpath(layer.location)):
            yield folder


def _is_sidecar(path: str) -> bool:
    """Return whether a file was made to be named by a manifest: a segment, an index, part of a layer or table."""
    return bool(generation_of(path) and not _number_of(path)) or is_index_path(path) or is_layer_path(path)


def _turn(path: str) -> int:
    """Return when a file goes: what tells of others goes after them, so that after a kill nothing is forgotten."""
    if folder_of_edit(path) is None:
        return 3 if _is_sidecar(path) else 2  # a tar that has an index is known to be of an edit
    last_part = posixpath.basename(path)
    return {CLAIM: 0, NOTE: 4}.get(last_part, 1)  # without its claim an edit writes nothing any more
