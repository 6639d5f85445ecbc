"""Check what is around the newest generation: the copy of its manifest, earlier ones, and files that nothing names."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial

from shardpack.commit.edit_folder import NOTE, folder_of_edit
from shardpack.commit.edit_shards import is_edit_shard, maybe_committed
from shardpack.errors import FormatError, ObjectTooLargeError, ShardNotFoundError, ShardpackError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import (
    FOLDER,
    LAYER_FOLDER,
    MANIFEST_PATH,
    RUN_PATH,
    WORK_FOLDER,
    file_path,
    generation_of,
    is_index_path,
    is_layer_path,
    is_packer_name,
    manifest_path,
)
from shardpack.format.manifest import MAX_MANIFEST_BYTES, OWN_FOLDER, Manifest, Parent
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.inspect.problem import Problem
from shardpack.inspect.stored_names import stored_names
from shardpack.storage.protocols import Store
from shardpack.storage.url import is_url

_RESTORE = 'restore it, or remove all earlier generations with "shardpack gc --older-than 0"'


@dataclass(slots=True)
class Generations:
    """What was found.

    Attributes:
        problems: In the order of newest manifest, earlier generations, files that nothing names.
        kept: Numbers of the earlier generations whose files are all there, ascending.
    """

    problems: list[Problem] = field(default_factory=list)
    kept: tuple[int, ...] = ()


@dataclass(slots=True)
class _Named:
    """What manifests name.

    Attributes:
        sizes: Path of each file in this store -> its length, where a manifest tells it.
        tars: Names of the tars in the dataset's own folder.
        layers: Folders of layers in `.shardpack`.
        is_indexed: Whether sidecars of one of them were made of tars.
        doubtful: The newest generation whose files are not known: orphans of it, or earlier ones, are not told.
    """

    sizes: dict[str, int | None] = field(default_factory=dict)
    tars: set[str] = field(default_factory=set)
    layers: set[str] = field(default_factory=set)
    is_indexed: bool = False
    doubtful: int = 0

    def add(self, manifest: Manifest, shards: Iterable[ShardInfo]) -> dict[str, int]:
        """Take what one manifest names; return those of its files that no other has named yet."""
        self.is_indexed |= bool(manifest.option("indexed"))
        sizes = {file_path(file): file.num_bytes for file in manifest.files}
        for info in shards:
            sizes[info.index_path] = info.index_bytes
            if manifest.locations[info.location] == OWN_FOLDER:
                self.tars.add(info.name)
                sizes[info.name] = info.num_bytes
        more = {path: size for path, size in sizes.items() if path not in self.sizes}
        self.sizes |= {**sizes, **dict.fromkeys(manifest.metadata_paths[-3:])}
        folders = (posixpath.normpath(layer.location) for layer in manifest.layers if not is_url(layer.location))
        self.layers |= {folder for folder in folders if folder.startswith(f"{LAYER_FOLDER}/")}
        return more


def verify_generations(
    store: Store, manifest: Manifest, shards: Iterable[ShardInfo] | None, *, is_copied: bool = True
) -> Generations:
    """Return the problems of manifests and earlier generations, and the files that belong to none of them.

    Args:
        store: The store with the folder `.shardpack`.
        manifest: The newest manifest.
        shards: Its shards; None if the shard table is damaged: then it is not told which files belong to none.
        is_copied: Whether `manifest.json` can be read. If not, it is not known which generations followed, and files
            that may be theirs are not told.
    """
    found, named = Generations(), _Named()
    if is_copied:
        found.problems.extend(_check_copy(store, manifest))
    named.add(manifest, shards or ())
    if (newer := _parsed(_read(store, manifest_path(manifest.generation + 1)))) is not None:
        found.problems.append(_behind(newer))
        _missing(store, newer, named)
    names = stored_names(store, named.tars)
    if not is_copied:
        named.doubtful = max(map(generation_of, names), default=0)
    kept = []
    for number, own in _earlier(store, manifest, names, found.problems):
        if own is None:
            named.doubtful = max(named.doubtful, number)
        elif not (missing := _missing(store, own, named)):
            kept.append(number)
        else:
            found.problems.extend(_incomplete(number, missing))
    found.kept = tuple(sorted(kept))
    if shards is not None:
        found.problems.extend(_strays(store, manifest, named, names))
    return found


# --- Manifests ---------------------------------------------------------------------------------


def _check_copy(store: Store, manifest: Manifest) -> Iterator[Problem]:
    """Compare the manifest with the one of its generation."""
    path = manifest_path(manifest.generation)
    text = _read(store, path)
    if text is None:
        yield Problem("missing", path, f"manifest is missing; copy {MANIFEST_PATH} to this name")
    elif text != _read(store, MANIFEST_PATH):
        yield Problem("stale", path, f"manifest differs from {MANIFEST_PATH}; restore the right one")


def _behind(newer: Manifest) -> Problem:
    return Problem(
        "behind",
        MANIFEST_PATH,
        f"generation {newer.generation} was made, but this copy of its manifest was not replaced; the next edit does "
        'that, or "shardpack repair"',
    )


def _earlier(
    store: Store, manifest: Manifest, names: Sequence[str], problems: list[Problem]
) -> Iterator[tuple[int, Manifest | None]]:
    """Yield (generation, its manifest, or None if that is damaged) of all that are kept, the newest first."""
    waiting = {number for name in names if manifest_path(number := generation_of(name)) == name}
    parents: dict[int, Parent] = {}
    own: Manifest | None = manifest
    last = manifest.generation
    while True:
        if own is not None and own.parent is not None:
            parents[own.parent.generation] = own.parent
            waiting.add(own.parent.generation)
        waiting = {number for number in waiting if number < last}
        if not waiting:
            return
        last = max(waiting)
        path, text = manifest_path(last), _read(store, manifest_path(last))
        own = _parsed(text)
        if text is None:  # as "shardpack gc" leaves it
            continue
        if own is None or own.generation != last:
            problems.append(Problem("incomplete", path, f"manifest of generation {last} is damaged; {_RESTORE}"))
            own = None
        elif last in parents and (parents[last].num_bytes, parents[last].crc32c) != (len(text), crc32c(text)):
            what = f"manifest of generation {last} is not the one that the next generation was made from"
            problems.append(Problem("incomplete", path, f"{what}; {_RESTORE}"))
        yield last, own


def _missing(store: Store, manifest: Manifest, named: _Named) -> list[str]:
    """Return the files of an earlier generation, beyond those of later ones, that are not there as it names them."""
    new = {path: one for one in manifest.table_segments if (path := file_path(one)) not in named.sizes}
    try:
        shards: Iterable[ShardInfo] = ShardTable.whole(
            replace(manifest, table_segments=tuple(new.values())), lambda path: _read(store, path, new[path].num_bytes)
        )
    except FormatError:
        named.doubtful = max(named.doubtful, manifest.generation)
        shards = ()
    more = named.add(manifest, shards)
    return [path for path, size in more.items() if _size(store, path) != size]


def _incomplete(number: int, missing: Sequence[str]) -> Iterator[Problem]:
    for path in missing:
        yield Problem(
            "incomplete",
            path,
            f"generation {number}, which is kept, needs this file, and it is missing or has another length; {_RESTORE}",
        )


# --- What nothing names ------------------------------------------------------------------------


def _strays(store: Store, manifest: Manifest, named: _Named, names: Sequence[str]) -> Iterator[Problem]:
    """Yield files that look like parts of a dataset, but that no manifest of this one names; and unfinished work."""
    edits = {folder: _tag(store, folder) for name in names if (folder := folder_of_edit(name)) is not None}
    unnamed = set(_unnamed(names, named, tags=[tag for tag in edits.values() if tag]))
    there = set(names)
    of_edits = {name for name in unnamed if is_edit_shard(name, there)}
    spared = maybe_committed(
        of_edits, unnamed, partial(_read, store), newest=manifest.generation, is_indexed=named.is_indexed
    )
    for name in sorted(unnamed - (spared - of_edits)):  # what tells of a tar is an orphan once that is moved away
        if _may_be_needed(name, named, newest=manifest.generation, is_edited=bool(edits)):
            continue
        if (name in of_edits or _is_sidecar(name)) and name not in spared:
            yield Problem("orphan", name, 'no generation that is kept names this file; remove it with "shardpack gc"')
        elif name.startswith(f"{FOLDER}/") or (OWN_FOLDER in manifest.locations and _is_tar(name)):
            yield Problem("stray", name, "no manifest names this file; append what it holds, or move it away")
    for folder in sorted(edits):
        what = 'run it again; or "shardpack gc" removes it once it is old (--older-than 0: in a bucket after a day)'
        yield Problem("unfinished", folder, f"an edit was interrupted; {what}")
    others = {name for name in names if _is_unfinished(name) and folder_of_edit(name) is None}
    for name in sorted({RUN_PATH if name == RUN_PATH else WORK_FOLDER for name in others}):
        yield Problem("unfinished", name, "a command was interrupted; run it again, or remove this")


def _unnamed(names: Sequence[str], named: _Named, *, tags: Sequence[str]) -> Iterator[str]:
    """Yield the files that no manifest names, and that are not of unfinished work, whose edits have these tags."""
    layers = tuple(f"{folder}/" for folder in named.layers)
    for name in set(names).difference(named.sizes):
        if not (name.startswith(layers) or _is_unfinished(name) or any(tag in name for tag in tags)):
            yield name


def _may_be_needed(name: str, named: _Named, *, newest: int, is_edited: bool) -> bool:
    """Return whether a file may be of a generation whose files are not known, or of an edit killed in its commit."""
    number = generation_of(name)
    if number > newest and is_edited:
        return True
    return named.doubtful > 0 and (0 < number <= named.doubtful or _may_be_of_any(name))


def _is_sidecar(name: str) -> bool:
    """Return whether a file is one that only manifests give a meaning: no manifest, and no tar."""
    number = generation_of(name)
    return is_index_path(name) or is_layer_path(name) or (number > 0 and name != manifest_path(number))


def _may_be_of_any(name: str) -> bool:
    """Return whether the generation that needs a file is not told by its name."""
    return is_index_path(name) or is_packer_name(name) or is_layer_path(name)


def _is_tar(name: str) -> bool:
    return name.endswith(".tar") or is_packer_name(name)


def _is_unfinished(name: str) -> bool:
    return name == RUN_PATH or name.startswith(f"{WORK_FOLDER}/")


def _tag(store: Store, folder: str) -> str:
    """Return the tag in the names of files that an unfinished edit has made; "" if it is not known."""
    with suppress(ValueError, TypeError, KeyError):
        return str(json.loads(_read(store, f"{folder}/{NOTE}") or b"")["tag"])
    return ""


# --- Files -------------------------------------------------------------------------------------


def _read(store: Store, path: str, max_bytes: int = MAX_MANIFEST_BYTES) -> bytes | None:
    """Return a file; None if it is missing, or longer than it can be."""
    try:
        return bytes(store.get(path, max_bytes=max_bytes))
    except (ShardNotFoundError, ObjectTooLargeError):
        return None


def _size(store: Store, path: str) -> int | None:
    try:
        return store.size(path)
    except ShardpackError:
        return None


def _parsed(text: bytes | None) -> Manifest | None:
    with suppress(FormatError):
        return None if text is None else parse_manifest(text)
    return None
