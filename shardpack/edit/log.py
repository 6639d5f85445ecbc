"""The history of a dataset, from the manifests of the generations that are kept. No clock is recorded in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.errors import CorruptManifestError, ObjectTooLargeError, ShardNotFoundError
from shardpack.format.layout import manifest_path
from shardpack.format.manifest import MAX_MANIFEST_BYTES, OWN_FOLDER, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.read.open_dataset import load_manifest
from shardpack.read.open_location import open_location
from shardpack.storage.locations import LocationOptions
from shardpack.storage.protocols import RangeReader, Store

_FIRST = {"merged": "merge", "repaired": "repair", "indexed": "index"}  # option of a first generation -> its command


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One generation of a dataset.

    Attributes:
        generation: Its number.
        command: What made it: "pack", "merge", "index", "delete", ...; "damaged" if its manifest is, so that nothing
            else is known of it: other attributes are 0 or empty then.
        changes: What it changed, in a few words each; what it holds, if the generation before is not known.
        num_samples: Visible samples.
        added, deleted: Samples added and deleted since the generation before; 0 if that is not known.
        num_shards, num_bytes: Of all shards; the bytes are those of the tars.
        fields: Names of all fields.
        fingerprint: A hash of the content.
    """

    generation: int
    command: str
    changes: tuple[str, ...]
    num_samples: int = 0
    added: int = 0
    deleted: int = 0
    num_shards: int = 0
    num_bytes: int = 0
    fields: tuple[str, ...] = ()
    fingerprint: str = ""


def log(
    dataset: str | os.PathLike[str] | RangeReader, *, storage_options: Mapping[str, Any] | None = None
) -> list[LogEntry]:
    """Return what each generation of a dataset changed, the newest first. Costs a read for each one that is kept.

    Args:
        dataset: A folder, URL or store, as `shardpack.open` takes it.
        storage_options: For URLs.

    Raises:
        DatasetNotFoundError: `dataset` does not hold a dataset.
        CorruptManifestError: The manifest of the newest generation is damaged.

    Example:
        >>> [(entry.generation, entry.command, entry.changes) for entry in shardpack.log("out/")]
        [(1, 'pack', ('1 sample in 1 shard',))]
    """
    store, _ = open_location(dataset, LocationOptions(storage_options), sidecars=None)
    kept = list(_kept(store))
    before = [*(manifest for _, manifest in kept[1:]), None]
    return [
        _damaged(number) if manifest is None else _entry(manifest, earlier)
        for (number, manifest), earlier in zip(kept, before, strict=True)
    ]


def _kept(store: Store) -> Iterator[tuple[int, Manifest | None]]:
    """Yield the numbers and manifests of all generations that are kept, the newest first; None for a damaged one."""
    _, newest = load_manifest(store)
    manifest: Manifest | None = newest
    number = newest.generation
    yield number, manifest
    while number > 1 and (manifest is None or manifest.parent is not None):
        number -= 1
        try:
            manifest = parse_manifest(bytes(store.get(manifest_path(number), max_bytes=MAX_MANIFEST_BYTES)))
        except ShardNotFoundError:
            return
        except (ObjectTooLargeError, CorruptManifestError):
            manifest = None
        yield number, manifest


def _damaged(number: int) -> LogEntry:
    return LogEntry(number, "damaged", (f"not known: {manifest_path(number)} is damaged; restore it",))


def _entry(manifest: Manifest, before: Manifest | None) -> LogEntry:
    return LogEntry(
        generation=manifest.generation,
        command=_command(manifest),
        changes=tuple(_contents(manifest) if before is None else _changes(manifest, before)),
        num_samples=manifest.num_visible,
        added=0 if before is None else manifest.num_samples - before.num_samples,
        deleted=0 if before is None else manifest.num_deleted - before.num_deleted,
        num_shards=manifest.num_shards,
        num_bytes=manifest.num_bytes,
        fields=manifest.fields,
        fingerprint=manifest.fingerprint,
    )


def _command(manifest: Manifest) -> str:
    """Return the command that made a generation, as it is recorded; `index` records none in later generations."""
    edit = manifest.packed_with.get("edit")
    if isinstance(edit, dict) and edit.get("generation") == manifest.generation:
        return str(edit.get("command"))
    if manifest.generation == 1:
        for option, command in _FIRST.items():
            if manifest.option(option):
                return command
        return "pack"
    return "index"


def _contents(manifest: Manifest) -> Iterator[str]:
    yield f"{_counted(manifest.num_samples, 'sample')} in {_counted(manifest.num_shards, 'shard')}"
    if manifest.generation == 1 and (count := manifest.option("merged")):
        places = [location for location in manifest.locations if location != OWN_FOLDER]
        yield f"of {count} datasets" + (f": {', '.join(places)}" if places else ", copied")
    if manifest.num_deleted:
        yield f"{manifest.num_deleted:,} of them deleted"
    if manifest.layers:
        yield _counted(len(manifest.layers), "layer")
    if manifest.splits is not None:
        yield f"splits {', '.join(manifest.splits.samples)}"


def _changes(manifest: Manifest, before: Manifest) -> Iterator[str]:
    if _command(manifest) == "index" and manifest.fingerprint != before.fingerprint:
        yield "tars that were written again"
    if added := manifest.num_samples - before.num_samples:
        yield f"{_counted(added, 'sample')} added in {_counted(manifest.num_shards - before.num_shards, 'shard')}"
    if deleted := manifest.num_deleted - before.num_deleted:
        yield f"{_counted(deleted, 'sample')} deleted"
    yield from _layer_changes(manifest, before)
    if manifest.classes != before.classes:
        yield f"{len(manifest.classes or ())} classes instead of {len(before.classes or ())}"
    if manifest.splits is None and before.splits is not None:
        yield "splits removed"
    elif manifest.splits is not None and (before.splits is None or manifest.splits.name != before.splits.name):
        yield f"splits {', '.join(manifest.splits.samples)}"
    if manifest.table != before.table:
        yield "label table" if manifest.table else "label table removed"


def _layer_changes(manifest: Manifest, before: Manifest) -> Iterator[str]:
    for layer in manifest.layers:
        if layer not in before.layers:
            yield f"layer {layer.location} gives {', '.join(layer.fields)}"
    for layer in before.layers:
        if layer not in manifest.layers:
            yield f"layer {layer.location} detached"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")
