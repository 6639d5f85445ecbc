"""Generations behind the newest one whose manifest is left: what tells of them, and what only they name.

a damaged manifest of a later generation                   tells of it always
a file that only the manifest of a later one names         where the copy `manifest.json` is lost or damaged, too

Such a file is there, too, where an edit was killed right before it made its manifest, and left the note of an edit:
then it is said that nothing may be lost.

To go back is to give them up: their damaged manifests go, which would be in the way of the next edits, and the notes of
edits that were about to make them. The tars that they added stay, and without an index or note: so `gc` takes none of
them for the waste of an edit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from shardpack.commit.edit_folder import folder_of_edit, read_note
from shardpack.commit.edit_shards import is_edit_shard
from shardpack.commit.generations import is_manifest
from shardpack.commit.target import Target
from shardpack.errors import FormatError
from shardpack.format.layout import (
    FOLDER,
    LAYER_FOLDER,
    MANIFEST_PATH,
    edit_tag,
    generation_of,
    index_path,
    layer_folder,
    manifest_path,
)
from shardpack.format.manifest import Manifest
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class LostGenerations:
    """What is lost.

    Attributes:
        left: Number of the newest generation that is left.
        newest: Number of the last one that is lost.
        manifests: Names of damaged manifests, the newest first.
        tars: Names of the tars that edits added and that no generation names that is left.
        num_samples: How many samples these have, as far as their indexes tell.
        layers: Folders of the layers that the lost generations made.
        deleted, splits: Names of the files of samples that they deleted, and of splits that they made.
        unfinished: Folders of edits that were killed, perhaps before they made the manifest.
        notes: Names of the files in those of them that were about to make it.
    """

    left: int
    newest: int
    manifests: tuple[str, ...]
    tars: tuple[str, ...]
    num_samples: int
    layers: tuple[str, ...]
    deleted: tuple[str, ...]
    splits: tuple[str, ...]
    unfinished: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def in_the_way(self) -> list[str]:
        """Names of the files that are deleted to go back."""
        return [*map(index_path, self.tars), *self.manifests, *self.notes]

    def sentences(self, *, goes_back: bool) -> Iterator[str]:
        """Yield what is lost; `goes_back` tells whether the generations are given up."""
        own, again = manifest_path(self.newest), ""
        state = "damaged" if own in self.manifests else "lost"
        if self.unfinished and own not in self.manifests:
            state = f"lost, or was never made, as an edit was killed that left {_shown(self.unfinished)}"
            again = "; then run that edit again"
        advice = f"what is left is generation {self.left}"
        if not goes_back:
            advice = f"restore {own} from a backup, or go back to generation {self.left} with --force"
        yield f"generation {self.newest}: its manifest is {state}; {advice}{again}"
        verb = "names" if goes_back else "would then name"
        if self.tars:
            yield (
                f"{len(self.tars)} tar(s) with {self.num_samples} samples, which no generation {verb}: "
                f"{_shown(self.tars)}; they stay: to have their samples again, move them to a folder, "
                '"shardpack index" it, and append that'
            )
        for folder in self.layers:
            yield (
                f"the layer {folder}, which no generation {verb}, so that a later gc deletes and names it: copy it to "
                'another folder ("shardpack copy"), and attach that ("shardpack attach")'
            )
        comes = "are" if goes_back else "would then be"
        if self.deleted:
            yield f"which samples were deleted: {_shown(self.deleted)}; they {comes} visible again: delete them again"
        if self.splits:
            yield f'named splits: {_shown(self.splits)}; make them again with "shardpack split"'


def find_lost_generations(
    target: Target, manifest: Manifest, shards: Sequence[ShardInfo] | None
) -> LostGenerations | None:
    """Return what is behind a generation, the newest one whose manifest is left; None if nothing is.

    Args:
        target: The dataset.
        manifest: The manifest of the generation.
        shards: Its shards; None if they are not known: then it is not known either which tars are of no generation.
    """
    names, left = target.names(), manifest.generation
    later = {number: name for name in names if (number := generation_of(name)) > left and name == manifest_path(number)}
    newest = max(later, default=0)
    if not is_manifest(target.read(MANIFEST_PATH) or b""):
        newest = max(newest, *map(generation_of, names), 0)
    if newest <= left:
        return None
    folders = sorted({folder for name in names if (folder := folder_of_edit(name)) is not None})
    notes = {folder: note for folder in folders if (note := read_note(target, folder)) is not None}
    announced = tuple(folder for folder, note in notes.items() if note.commits is not None and note.commits[0] > left)
    continued = {note.tag for note in notes.values() if note.commits is None}
    tars = [] if shards is None else _unnamed_tars(names, {info.name for info in shards}, continued)
    return LostGenerations(
        left=left,
        newest=newest,
        manifests=tuple(later[number] for number in sorted(later, reverse=True)),
        tars=tuple(tars),
        num_samples=sum(_num_samples(target, name) for name in tars),
        layers=tuple(_later_layers(names, manifest)),
        deleted=tuple(_later_files(names, "deleted", manifest)),
        splits=tuple(_later_files(names, "splits", manifest)),
        unfinished=tuple(notes),
        notes=tuple(sorted(name for name in names if folder_of_edit(name) in announced)),
    )


def _unnamed_tars(names: Collection[str], known: Collection[str], continued: Collection[str]) -> list[str]:
    """Return the tars that edits finished, and that are not known; without those of edits that can be continued."""
    there = set(names)
    return sorted(
        name
        for name in there.difference(known)
        if is_edit_shard(name, there) and not any(tag in name for tag in continued)
    )


def _num_samples(target: Target, tar: str) -> int:
    path = index_path(tar)
    with suppress(FormatError):
        return parse_index(target.read(path) or b"", name=path).num_samples
    return 0


def _later_layers(names: Collection[str], manifest: Manifest) -> list[str]:
    """Return the folders of layers that are named as edits of later generations name them."""
    first = edit_tag(manifest.generation + 1, 0)
    folders = {folder for name in names if (folder := layer_folder(name)) is not None}
    attached = {layer.location for layer in manifest.layers}
    return sorted(folder for folder in folders - attached if folder.removeprefix(f"{LAYER_FOLDER}/") >= first)


def _later_files(names: Collection[str], kind: str, manifest: Manifest) -> list[str]:
    """Return the files of a kind that later generations made, by name."""
    return sorted(
        name for name in names if name.startswith(f"{FOLDER}/{kind}-") and generation_of(name) > manifest.generation
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
