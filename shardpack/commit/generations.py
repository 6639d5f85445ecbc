"""Which generation is the newest, which is left where manifests are damaged, and how the copy is brought up to date.

A generation exists once `manifests/<number>.json` is created. `manifest.json` is a copy, replaced afterwards; a process
that is killed in between leaves the copy behind by one. Each editor therefore looks for the manifest that follows the
copy before it begins, and again after it has replaced the copy: so the last copy that is written is the newest.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from shardpack.commit.target import Target
from shardpack.errors import DatasetNotFoundError, FormatError, StorageError, UnsupportedVersionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import MANIFEST_PATH, generation_of, manifest_path
from shardpack.format.manifest import Manifest
from shardpack.format.manifest_json import parse_manifest

_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation.

    Attributes:
        text, manifest: Its manifest, as the bytes of its file and as a value.
        is_copied: Whether `manifest.json` was found to be a copy of it.
    """

    text: bytes
    manifest: Manifest
    is_copied: bool = False

    @property
    def crc32c(self) -> int:
        """CRC32C of the manifest's file."""
        return crc32c(self.text)


def newest_generation(target: Target) -> Generation:
    """Return the newest generation of a dataset, also if the copy of its manifest was missed. Writes nothing.

    Costs a read of the copy, and one that usually finds nothing; lists nothing.

    Raises:
        DatasetNotFoundError: The manifest is missing.
        CorruptManifestError: The manifest is damaged.
        UnsupportedVersionError: The manifest was written by a newer version of the format.
    """
    text = target.read(MANIFEST_PATH)
    if text is None:
        raise DatasetNotFoundError(
            f'no dataset in {target.location!r}: {MANIFEST_PATH} is missing; pack one with "shardpack pack"'
        )
    return _newest_from(target, Generation(text, parse_manifest(text), is_copied=True))


def _newest_from(target: Target, known: Generation) -> Generation:
    while (following := generation_at(target, known.manifest.generation + 1)) is not None:
        known = following
    return known


def newest_undamaged(target: Target) -> Generation | None:
    """Return the newest generation whose manifest is left and undamaged; None if there is not one. Lists the files.

    It may be newer than the copy: a run was killed before it replaced the copy, or the copy is damaged. What is between
    may be missing.
    """
    text = target.read(MANIFEST_PATH) or b""
    copy, known = None, 0
    with suppress(FormatError):
        copy = Generation(text, parse_manifest(text), is_copied=True)
        known = copy.manifest.generation
    generations = {number for name in target.names() if manifest_path(number := generation_of(name)) == name}
    for number in sorted(generations, reverse=True):
        if number > known:
            text = target.read(manifest_path(number)) or b""
            with suppress(FormatError):
                return Generation(text, parse_manifest(text))
    return copy


def refuse_newer(target: Target) -> None:
    """Raise UnsupportedVersionError if a manifest is of a newer version, which is not damaged but only unknown."""
    for name in target.names():
        if name == MANIFEST_PATH or name == manifest_path(generation_of(name)):
            try:
                parse_manifest(target.read(name) or b"")
            except UnsupportedVersionError:
                raise
            except FormatError:
                continue


def is_manifest(text: bytes) -> bool:
    """Return whether a text is an undamaged manifest of this format version or a later one."""
    try:
        parse_manifest(text)
    except UnsupportedVersionError:
        return True
    except FormatError:
        return False
    return True


def generation_at(target: Target, number: int) -> Generation | None:
    """Return a generation by its number; None if its manifest is missing or damaged.

    Raises:
        UnsupportedVersionError: It was written by a newer version of the format.
    """
    text = target.read(manifest_path(number))
    return Generation(text, parse_manifest(text)) if text is not None and is_manifest(text) else None


def is_later(text: bytes, manifest: Manifest) -> bool:
    """Return whether a text is the manifest of a later generation."""
    return is_manifest(text) and parse_manifest(text).generation > manifest.generation


def replace_copy(target: Target, newest: Generation) -> Generation:
    """Make `manifest.json` a copy of the newest generation; return that, as it may be newer than the given one.

    Raises:
        StorageError: Other bytes arrive than were sent.
    """
    present: bytes | None = None
    for _ in range(_ATTEMPTS):  # several editors may each put an earlier copy behind ours, but each only once
        target.replace(MANIFEST_PATH, newest.text)
        newest = _newest_from(target, newest)
        present = target.read(MANIFEST_PATH)
        if present == newest.text or (present is not None and is_later(present, newest.manifest)):
            return newest
    if present is not None and is_manifest(present):
        return newest  # the next editor brings the copy up to date
    raise StorageError(
        f"cannot write {MANIFEST_PATH!r}: other bytes arrive in {target.location!r} than were sent; "
        "check the network (or use https), then run the same command: it continues where it stopped",
        path=MANIFEST_PATH,
    )
