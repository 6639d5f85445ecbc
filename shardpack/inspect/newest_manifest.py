"""The newest manifest that is whole, also where the copy `manifest.json` is damaged or missing; and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from shardpack.commit.edit_folder import folder_of_edit
from shardpack.errors import CorruptManifestError, DatasetNotFoundError, ObjectTooLargeError, ShardNotFoundError
from shardpack.format.layout import MANIFEST_PATH, generation_of, manifest_path
from shardpack.format.manifest import MAX_MANIFEST_BYTES, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.inspect.problem import Problem
from shardpack.inspect.stored_names import stored_names
from shardpack.read.open_dataset import load_manifest
from shardpack.storage.protocols import Store


@dataclass(frozen=True, slots=True)
class Newest:
    """What was found.

    Attributes:
        text, manifest: The newest manifest that is whole, as the bytes of its file and as a value; None without one.
        problems: What is wrong with the copy, and with the manifest of the newest generation. If there are any, the
            manifest is that of the last generation before them, from its own file.
    """

    text: bytes = b""
    manifest: Manifest | None = None
    problems: tuple[Problem, ...] = ()


def find_newest_manifest(store: Store) -> Newest:
    """Return the newest manifest of a dataset that is whole. Costs one read, and a listing where that is not enough.

    Raises:
        DatasetNotFoundError: No manifest is there at all.
        UnsupportedVersionError: A newer version of shardpack is needed to read it.
    """
    try:
        return Newest(*load_manifest(store))
    except (CorruptManifestError, DatasetNotFoundError) as error:
        names = stored_names(store, ())
        text, manifest = _newest_kept(store, names)
        if isinstance(error, CorruptManifestError):
            kind, what = "damaged", str(error.args[0]).partition(";")[0]  # without the advice
        elif manifest is not None:
            kind, what = "missing", "the copy of the newest manifest is missing"
        else:
            raise
    advice = 'no manifest is left: "shardpack repair --force" makes one of the tars'
    if manifest is not None:
        advice = f'"shardpack repair" makes it again: that of generation {manifest.generation} is left'
    problems = [Problem(kind, MANIFEST_PATH, f"{what}; {advice}")]
    newest = max(map(generation_of, names), default=0)
    if manifest is not None and newest > manifest.generation:
        what = f"generation {newest} was made, as its files tell, and no whole manifest of it is left"
        if any(folder_of_edit(name) for name in names):
            what += ", or an edit was killed before it made one"
        advice = f'restore it, or go back to generation {manifest.generation} with "shardpack repair --force"'
        problems.append(Problem("missing", manifest_path(newest), f"{what}; {advice}"))
    return Newest(text, manifest, tuple(problems))


def _newest_kept(store: Store, names: Iterable[str]) -> tuple[bytes, Manifest | None]:
    """Return the newest manifest in `manifests/` that is whole."""
    numbers = {number for name in names if manifest_path(number := generation_of(name)) == name}
    for number in sorted(numbers, reverse=True):
        with suppress(ShardNotFoundError, ObjectTooLargeError, CorruptManifestError):
            text = bytes(store.get(manifest_path(number), max_bytes=MAX_MANIFEST_BYTES))
            return text, parse_manifest(text)
    return b"", None
