"""What a target holds already, and whether a new dataset may replace it: never over what no packer made.

in OUT                              without force       with force
nothing of these                    a new dataset       a new dataset
work folder of pack or copy         continue            continue
manifest                            refuse              replace what the manifest lists
manifest and work folder, or run    as above, unless it is this very run, killed while it cleaned up: then it ends
work folder of `shardpack index`    refuse              refuse: it is about somebody's tars
shard files with none of these      refuse              refuse: they may be anybody's
tars that `shardpack index` found   refuse              refuse: they are somebody's
"""

from __future__ import annotations

from contextlib import suppress

from shardpack.commit.lease import Command, refuse_other_work, unfinished_command
from shardpack.commit.target import Target
from shardpack.errors import FormatError, OutputExistsError, UnsupportedVersionError
from shardpack.format.dataset_files import REJECTED_PATH, RUN_PATH, generation_of, whole_table
from shardpack.format.manifest import FILE_NAME, WORK_FOLDER, Manifest, manifest_path, parse_manifest
from shardpack.format.naming import is_packer_name


def check_writable(target: Target, command: Command, *, force: bool) -> None:
    """Return if a new dataset may be written to a target; writes nothing.

    `begin` asks again; a caller with hours of listing before it asks first.

    Raises:
        OutputExistsError: There is something that a new dataset must not touch; says what.
    """
    refuse_other_work(target, command)
    unfinished = is_unfinished(target)
    if has_manifest(target):
        if not unfinished:  # `begin` knows whether it was this run
            replaceable(target, force=force)
    elif not (unfinished and unfinished_command(target)) and (strays := _files_like_ours(target)):
        raise OutputExistsError(
            f"{target.location!r} holds files that a dataset would overwrite, and no manifest that says whose "
            f"they are: {_shown(strays)}; move them away, or choose another folder"
        )


def has_manifest(target: Target) -> bool:
    """Return whether there is something with a manifest's name."""
    return target.size(FILE_NAME) is not None


def is_manifest(text: bytes) -> bool:
    """Return whether a text is a manifest that is sound, or one of a later version."""
    try:
        parse_manifest(text)
    except UnsupportedVersionError:
        return True
    except FormatError:
        return False
    return True


def newest_manifest(target: Target) -> tuple[bytes, Manifest] | None:
    """Return the newest manifest that is sound, as text and as value; None if there is none.

    A run that was killed may have created it and not replaced the copy; or the copy is damaged.
    """
    copy = _manifest_at(target, FILE_NAME)
    known = 0 if copy is None else copy[1].generation
    generations = {number for name in target.names() if manifest_path(number := generation_of(name)) == name}
    for number in sorted(generations, reverse=True):
        if number > known and (own := _manifest_at(target, manifest_path(number))):
            return own
    return copy


def _manifest_at(target: Target, name: str) -> tuple[bytes, Manifest] | None:
    text = target.read(name) or b""
    with suppress(FormatError):
        return text, parse_manifest(text)
    return None


def is_unfinished(target: Target) -> bool:
    """Return whether a command has begun here and not ended."""
    there = (target.size(name) is not None for name in (WORK_FOLDER, RUN_PATH))  # what goes last, without the rest
    return any(there) or any(name.startswith(f"{WORK_FOLDER}/") for name in target.names())


def replaceable(target: Target, *, force: bool) -> list[str]:
    """Return the files of the dataset that is there, but for the manifest, if it may be deleted.

    Raises:
        OutputExistsError: It may not.
    """
    try:
        whole = parse_manifest(target.read(FILE_NAME) or b"")
        packed = _packer_names(whole, target) if force else set()
    except FormatError as error:
        if not force:
            raise OutputExistsError(
                f"{target.location!r} already holds a dataset; choose another folder, or pass --force"
            ) from None
        raise OutputExistsError(
            f"{target.location!r} holds a dataset, but not which files belong to it: {error}; "
            "delete it, or choose another folder"
        ) from error
    if not force:
        raise OutputExistsError(
            f"{target.location!r} already holds a dataset; choose another folder, or pass --force, "
            f"which deletes its {whole.num_samples:,} samples"
        )
    if not _is_packed(whole):
        raise OutputExistsError(
            f'{target.location!r} holds tars that "shardpack index" found there, and packing would delete them; '
            "choose another folder"
        )
    here = set(_files_like_ours(target))
    if strays := sorted(name for name in here - packed if is_packer_name(name)):
        raise OutputExistsError(
            f"{target.location!r} holds files that are named like shards, but are not in its manifest: "
            f"{_shown(strays)}; move them away, or choose another folder"
        )
    return sorted(packed | here - {FILE_NAME})


def _files_like_ours(target: Target) -> list[str]:
    """Return the files here that have the name of a part of a dataset, other than the newest manifest."""
    return sorted(
        name for name in target.names() if is_packer_name(name) or generation_of(name) or name == REJECTED_PATH
    )


def _packer_names(whole: Manifest, target: Target) -> set[str]:
    """Return the files of shards that a manifest lists, as far as they are named like a packer's."""
    table = whole_table(whole, target.read)
    infos = map(table.shard, range(len(table)))
    return set(filter(is_packer_name, (name for info in infos for name in (info.name, info.index_path))))


def _is_packed(whole: Manifest) -> bool:
    """Return whether a packer wrote these shards, rather than found them."""
    options = whole.packed_with.get("options")
    return not (isinstance(options, dict) and options.get("indexed"))


def _shown(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
