"""Decide what may be overwritten in the place that a dataset is written to.

Only what a packer made is ever deleted:

content of OUT                      without force       with force
none of the below                   a new dataset       a new dataset
work folder of pack or copy         continue            continue
work folder of parts of a plan      refuse              refuse, except for a part of the same plan
manifest                            refuse              replace what it and earlier generations list, and what
                                                        edits made
manifest and work folder, or run    as for a manifest, unless this very run was killed while cleaning up: finish
work folder of `shardpack index`    refuse              refuse: the tars are the user's
shard files with none of these      refuse              refuse: their origin is unknown
tars that `shardpack index` found   refuse              refuse: the tars are the user's
"""

from __future__ import annotations

from contextlib import suppress

from shardpack.commit.edit_folder import folder_of_edit, read_note
from shardpack.commit.generations import generation_at
from shardpack.commit.lease import Command, refuse_other_work, unfinished, unfinished_command
from shardpack.commit.target import Target
from shardpack.errors import FormatError, OutputExistsError
from shardpack.format.layout import (
    MANIFEST_PATH,
    REJECTED_PATH,
    RUN_PATH,
    WORK_FOLDER,
    generation_of,
    index_path,
    is_index_path,
    is_layer_path,
    is_packer_name,
    manifest_path,
    tag_of_shard,
)
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_table import ShardTable


def check_writable(target: Target, command: Command, *, force: bool) -> None:
    """Raise unless a new dataset may be written to a target; writes nothing.

    `Transaction.new_dataset` checks again. Callers that first list files for hours check before they do so.

    Raises:
        OutputExistsError: The target holds something that a new dataset must not touch; the message names it.
    """
    refuse_other_work(target, command)
    has_begun = is_unfinished(target)
    if has_manifest(target):
        if not has_begun:  # if it is, only the transaction can tell whether this run made the dataset
            files_to_replace(target, command, force=force)
    elif not (has_begun and unfinished_command(target)):
        _refuse_strays(target)


def check_unused(target: Target) -> None:
    """Raise unless a target holds neither a dataset nor unfinished work; writes nothing.

    Raises:
        OutputExistsError: It holds something; the message names it.
    """
    if (before := unfinished_command(target)) is not None:
        raise unfinished(target, before)
    if has_manifest(target):
        files_to_replace(target, "pack --part", force=False)
    _refuse_strays(target)


def _refuse_strays(target: Target) -> None:
    if strays := _files_like_ours(target):
        raise OutputExistsError(
            f"{target.location!r} holds files that a dataset would overwrite, and no manifest that says whose "
            f"they are: {_shown(strays)}; move them away, or choose another folder"
        )


def has_manifest(target: Target) -> bool:
    """Return whether a file has the manifest's name."""
    return target.size(MANIFEST_PATH) is not None


def is_unfinished(target: Target) -> bool:
    """Return whether a command that makes a dataset has begun here and has not finished; edits do not count."""
    if target.size(RUN_PATH) is not None:  # the last to be deleted
        return True
    work = [name for name in target.names() if name.startswith(f"{WORK_FOLDER}/")]
    if not work:
        return target.size(WORK_FOLDER) is not None  # an empty folder, deleted last but one
    return not all(map(folder_of_edit, work))


def files_to_replace(target: Target, command: Command, *, force: bool) -> list[str]:
    """Return the files of the existing dataset, of all generations and unfinished edits, if they may be deleted.

    The manifest is not among them.

    Raises:
        OutputExistsError: They may not be deleted; the message says why.
    """
    try:
        manifest = parse_manifest(target.read(MANIFEST_PATH) or b"")
        packed = _packer_names(manifest, target) if force else set()
        if force:
            packed |= _earlier_shards(manifest, target)
            packed |= _shards_of_edits(target, packed)
    except FormatError as error:
        if not force:
            raise OutputExistsError(_already_there(target, command)) from None
        raise OutputExistsError(
            f"{target.location!r} holds a dataset, but not which files belong to it: {error}; "
            "delete it, or choose another folder"
        ) from error
    if not force:
        generations = ", and all earlier generations" if manifest.generation > 1 else ""
        samples = f"{manifest.num_visible:,} sample{'s' * (manifest.num_visible != 1)}"
        raise OutputExistsError(f"{_already_there(target, command)}, which deletes its {samples}{generations}")
    if not _is_packed(manifest):
        raise OutputExistsError(
            f'{target.location!r} holds tars that "shardpack index" found there, and packing would delete them; '
            "choose another folder"
        )
    present = set(_files_like_ours(target))
    if strays := sorted(filter(is_packer_name, present - packed)):
        raise OutputExistsError(
            f"{target.location!r} holds files that are named like shards, but are not in its manifest: "
            f"{_shown(strays)}; move them away, or choose another folder"
        )
    indexes = set(map(index_path, packed))  # also where a target does not list them
    return sorted(packed | indexes | present - {MANIFEST_PATH})


def _already_there(target: Target, command: Command) -> str:
    add = "" if command == "copy" else 'add to it with "shardpack append", '
    return f"{target.location!r} already holds a dataset; {add}choose another folder, or pass force=True (--force)"


def _files_like_ours(target: Target) -> list[str]:
    """Return the files named like a part of a dataset, except the newest manifest."""
    return sorted(filter(_is_like_ours, target.names()))


def _is_like_ours(name: str) -> bool:
    is_sidecar = is_index_path(name) or is_layer_path(name) or bool(generation_of(name)) or name == REJECTED_PATH
    return is_packer_name(name) or is_sidecar or folder_of_edit(name) is not None


def _packer_names(manifest: Manifest, target: Target) -> set[str]:
    """Return the tars of a manifest, in this very folder, that are named as a packer names them."""
    table = ShardTable.whole(manifest, target.read)
    here = {number for number, location in enumerate(manifest.locations) if location == OWN_FOLDER}
    return {info.name for info in table if info.location in here and is_packer_name(info.name)}


def _earlier_shards(newest: Manifest, target: Target) -> set[str]:
    """Return the tars of earlier generations."""
    packed: set[str] = set()
    for name in sorted(target.names()):
        if name == manifest_path(number := generation_of(name)) and number != newest.generation:
            with suppress(FormatError):  # without its table it says nothing of any file, so they stay
                kept = generation_at(target, number)
                if kept is not None and _is_packed(kept.manifest):
                    packed |= _packer_names(kept.manifest, target)
    return packed


def _shards_of_edits(target: Target, known: set[str]) -> set[str]:
    """Return the other tars that edits of this dataset added, finished or not.

    They have an index, which comes first, or the tag of an edit that is noted here, or of a tar that is known.
    """
    names = set(target.names())
    tagged = {name: tag for name in names - known if (tag := tag_of_shard(name)) is not None}
    if not tagged:
        return set()
    folders = {folder for name in names if (folder := folder_of_edit(name))}
    notes = [read_note(target, folder) for folder in sorted(folders)]
    ours = {note.tag for note in notes if note is not None}
    ours |= {tag for name in known if (tag := tag_of_shard(name)) is not None}
    ours |= {tag for name, tag in tagged.items() if index_path(name) in names}
    return {name for name, tag in tagged.items() if tag in ours}


def _is_packed(manifest: Manifest) -> bool:
    """Return whether a packer wrote these shards; `shardpack index` only finds them."""
    return not manifest.option("indexed")


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
