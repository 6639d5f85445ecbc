"""Which files of a dataset no generation needs that is kept. Reads manifests and shard tables; writes nothing.

manifests of the generations that are kept -> names of all their files
listing - these - what an edit may still use that can go on - what is not ours -> files to delete
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shardpack.commit.edit_folder import CLAIM, NOTE, folder_of_edit
from shardpack.commit.edit_shards import is_edit_shard, maybe_committed
from shardpack.commit.generations import Generation, generation_at
from shardpack.commit.target import Target
from shardpack.edit.unfinished_edits import UnfinishedEdits, find_unfinished_edits
from shardpack.errors import CorruptManifestError, OptionError, ShardNotFoundError
from shardpack.format.layout import (
    MANIFEST_PATH,
    file_path,
    generation_of,
    is_index_path,
    is_layer_path,
    is_packer_name,
    manifest_path,
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
    files = {one.path: one for one in listed}
    made = {number: one for one in listed if (number := _number_of(one.path)) and number <= newest.manifest.generation}
    made.setdefault(newest.manifest.generation, files[MANIFEST_PATH])
    kept = _kept(target, newest, made, files, keep=keep, written_before=written_before)
    given_up = tuple(sorted(made.keys() - kept.keys()))
    if given_up and (missing := _missing(newest.manifest, files)) is not None:
        raise ShardNotFoundError(
            f"generation {newest.manifest.generation} misses a file, so that earlier ones may be all that can be read; "
            'restore it, or run "shardpack repair"; nothing was deleted',
            path=missing,
        )
    edits = find_unfinished_edits(
        target,
        listed,
        lambda one: _is_silent(one, silent_before) and _is_old(one, written_before),
        generation=newest.manifest.generation + 1,
    )
    unneeded = [files[path] for path in _unneeded(target, files, list(kept.values()), given_up, edits)]
    old = sorted((one for one in unneeded if _is_old(one, written_before)), key=lambda one: _turn(one.path))
    return Unneeded(
        kept=tuple(kept),
        generations=given_up,
        manifests=tuple(made[number] for number in given_up),
        files=tuple(old),
        num_young=len(unneeded) - len(old),
    )


def _kept(
    target: Target,
    newest: Generation,
    made: Mapping[int, Listed],
    paths: Collection[str],
    *,
    keep: int,
    written_before: float | None,
) -> dict[int, Manifest]:
    """Return the manifests of the generations that are kept, the newest first.

    Args:
        target, newest, keep, written_before: As for `find_unneeded`.
        made: The files of all manifests, by generation.
        paths: All paths in the dataset's folder.
    """
    numbers = sorted(made, reverse=True)
    kept, num_whole = {numbers[0]: newest.manifest}, 1
    for following, number in pairwise(numbers):
        # The readers of a generation had to open it before the next one was made.
        if num_whole >= keep and _is_old(made[following], written_before):
            break
        kept[number] = _manifest(target, number)
        num_whole += _missing(kept[number], paths) is None
    return kept


def _unneeded(
    target: Target,
    paths: Collection[str],
    kept: Sequence[Manifest],
    given_up: Collection[int],
    edits: UnfinishedEdits,
) -> list[str]:
    """Return the paths of what neither a generation that is kept nor an edit that may go on needs.

    Args:
        target: The dataset.
        paths: All paths in its folder.
        kept: Manifests of the generations that are kept, the newest first.
        given_up: Numbers of the generations that are not.
        edits: The unfinished edits.
    """
    needed = set(_names_of(kept, target))
    layers = tuple(f"{folder}/" for manifest in kept for folder in _layer_folders(manifest))
    unnamed = [path for path in paths if path not in needed and not path.startswith(layers)]
    of_generations = _packed_shards(_manifests(target, given_up), target)
    of_edits = {path for path in unnamed if is_edit_shard(path, paths) and not edits.gave_up(path)} - of_generations
    spared = maybe_committed(
        of_edits,
        unnamed,
        target.read,
        newest=kept[0].generation,
        is_indexed=any(manifest.option("indexed") for manifest in kept),
    )
    return [
        path
        for path in unnamed
        if (path in of_generations or path in of_edits or edits.gave_up(path) or _is_sidecar(path))
        and path not in spared
        and not edits.may_use(path)
    ]


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
