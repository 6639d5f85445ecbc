"""Which files of a dataset no generation needs that is kept. Reads manifests and shard tables; writes nothing.

manifests of the generations that are kept -> names of all their files
listing - these - what an unfinished edit may still use - what is not ours -> files to delete
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from shardpack.commit.edit_folder import folder_of_edit, read_note
from shardpack.commit.generations import Generation, generation_at
from shardpack.commit.target import Target
from shardpack.errors import CorruptManifestError, OptionError, ShardNotFoundError
from shardpack.format.layout import (
    FOLDER,
    MANIFEST_PATH,
    file_path,
    generation_of,
    index_path,
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
    target: Target, newest: Generation, listed: Sequence[Listed], *, keep: int, written_before: float | None
) -> Unneeded:
    """Return what may be deleted, and what is kept.

    Args:
        target: The dataset.
        newest: Its newest generation.
        listed: Everything in its folder.
        keep: How many generations are kept at least; one that misses a file does not count.
        written_before: Only what was written before this time may be deleted, and only generations that were followed
            by another one before it; in seconds since 1970. None: whatever its time.

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
    tags = _tags_in_use(target, listed)
    awaited = newest.manifest.generation + 1 if tags else None  # the generation that these edits make
    of_edits = {path for path in paths if _is_of_edit(path, paths)} - needed - droppable
    spared = _maybe_committed(target, manifests, of_edits, paths.keys() - needed)
    unneeded = [
        one
        for one in listed
        if one.path not in needed
        and one.path not in spared
        and not one.path.startswith(folders)
        and (_is_sidecar(one.path) or one.path in droppable or one.path in of_edits)
        and not any(tag in one.path for tag in tags)
        and (awaited is None or generation_of(one.path) != awaited)
    ]
    old = [one for one in unneeded if _is_old(one, written_before)]
    old.sort(key=lambda one: _is_sidecar(one.path))  # a tar that has an index is known to be of an edit
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
            "needs; restore it, or keep fewer generations (--keep, --older-than); nothing was deleted",
            path=manifest_path(number),
        )
    return found.manifest


def _number_of(path: str) -> int:
    """Return the generation whose manifest has this path; 0 if it is another file."""
    number = generation_of(path)
    return number if number and path == manifest_path(number) else 0


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


def _tags_in_use(target: Target, listed: Sequence[Listed]) -> set[str]:
    """Return the tags of edits that are under way, or can be continued."""
    folders = {folder for one in listed if (folder := folder_of_edit(one.path))}
    notes = (read_note(target, folder) for folder in sorted(folders))
    return {note.tag for note in notes if note is not None}


def _is_sidecar(path: str) -> bool:
    """Return whether a file was made to be named by a manifest: a segment, an index, part of a layer or table."""
    return bool(generation_of(path) and not _number_of(path)) or is_index_path(path) or is_layer_path(path)


def _is_of_edit(path: str, paths: Collection[str]) -> bool:
    """Return whether an edit added a tar: it is named as they name them, and has an index, which comes first."""
    return tag_of_shard(path) is not None and index_path(path) in paths


def _maybe_committed(
    target: Target, manifests: Sequence[Manifest], of_edits: Collection[str], stale: Collection[str]
) -> set[str]:
    """Return the tars of edits that may have been committed by a manifest that is lost, and what tells of them.

    Where the sidecars were made of tars, all of them may. Elsewhere those may that a shard table without a manifest
    names: an edit writes it right before its manifest.
    """
    if any(manifest.option("indexed") for manifest in manifests):
        return {*of_edits, *map(index_path, of_edits)}
    spared: set[str] = set()
    for path in sorted(stale) if of_edits else ():
        if not (path.startswith(f"{FOLDER}/shards-") and generation_of(path)):
            continue
        data = target.read(path) or b""
        named = {name for name in of_edits if name.encode() in data}
        if named:
            spared |= {path, *named, *map(index_path, named)}
    return spared
