"""Attach a dataset as a layer, whose samples replace or add fields of another's by key.

    keys of the layer --key index of the dataset--> column: position in the layer for each stored position --> manifest

No payload is read. The manifest pins the layer's generation, so that a layer that is edited stays as it was attached.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shardpack.edit.base import EditBase, open_base
from shardpack.edit.find_keys import KeyFinder
from shardpack.edit.label_values import LABEL_FIELDS
from shardpack.edit.layer import NewLayer, with_layer
from shardpack.edit.report import LayerReport
from shardpack.edit.table_upkeep import next_with_table, of_table
from shardpack.errors import FieldNotFoundError, OptionError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import LAYER_FOLDER, is_layer_path
from shardpack.format.manifest import Manifest
from shardpack.format.next_generation import next_generation
from shardpack.read.open_dataset import load_manifest, shards_of
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arguments import as_names
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.storage.locations import open_layer
from shardpack.storage.open import Writable
from shardpack.storage.relative_location import relative_location

KEYS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A dataset that is to be a layer."""

    location: str
    text: bytes
    manifest: Manifest
    cache: ShardCache
    fields: tuple[str, ...]


def attach(
    dataset: Writable,
    other: str | os.PathLike[str],
    *,
    fields: Sequence[str] | None = None,
    dry_run: bool = False,
    single_writer: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
) -> LayerReport:
    """Attach a dataset as a layer, whose samples replace or add fields of another's by key; return what it gives.

    The layer stays where it is, and stays as it is now, also if it is edited. Later layers win over earlier ones.
    Samples without an entry in the layer keep their own fields.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        other: Folder or URL of the layer: a dataset whose keys are all keys of the other one.
        fields: The fields that it gives; by default all that it has.
        dry_run: Return what would be done, but write nothing.
        single_writer: Promise that nobody else edits the dataset meanwhile; for stores that cannot create an object
            only if it is absent.
        storage_options, allow_locations: As `open` takes them.
        progress: Called as progress("find", keys done, keys of the layer), and ("table", rows done, all).
        announce: Called with a line for each layer that is left out, as the new one has all of it; and if the label
            table is dropped, because pyarrow is not installed.

    Raises:
        UnknownKeyError: The layer has keys that the dataset has not.
        FieldNotFoundError: The layer lacks one of the fields.
        OptionError: The layer has layers or deleted samples of its own, numbers classes otherwise, or cannot be named.
        OutputExistsError: Another edit came first.
    """
    began = time.perf_counter()
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)
    layer = _open_layer(base, other, fields)

    def report(manifest: Manifest, *, generation: int) -> LayerReport:
        return LayerReport(
            command="attach",
            location=base.location,
            generation=generation,
            parent=generation - 1,
            num_samples=manifest.num_visible,
            changed=layer.manifest.num_samples,
            seconds=time.perf_counter() - began,
            dry_run=dry_run,
            layer=layer.location,
            fields=layer.fields,
        )

    if dry_run:
        _column(base, layer, progress)
        return report(base.manifest, generation=base.manifest.generation + 1)
    digest = f"{layer.location} {crc32c(layer.text):08x} {layer.fields}"
    with base.begin("attach", run_digest=digest, single_writer=single_writer) as transaction:
        if transaction.complete:
            return report(transaction.parent, generation=transaction.parent.generation)
        base = base.of(transaction)
        _check_layer(base, layer)
        column = _column(base, layer, progress)
        layers = with_layer(base, NewLayer(layer.location, layer.text, layer.fields), column)
        kept = {ref.location for ref, _ in layers}
        for ref in base.manifest.layers:
            if ref.location not in kept:
                announce(
                    f"layer {ref.location!r} is left out, as the new one has all of its samples and fields; generation "
                    f"{base.manifest.generation} still has it"
                )
        edit = {"command": "attach", "changed": layer.manifest.num_samples, "layer": layer.location}
        make = partial(next_generation, base.manifest, base.text, layers=layers, base_chain=base.chain(), edit=edit)
        changed = of_table(layer.fields, np.flatnonzero(column))
        manifest, files = next_with_table(
            base, transaction, make, changed=changed, announce=announce, progress=progress
        )
        transaction.commit(manifest, files)
    return report(manifest, generation=manifest.generation)


def _open_layer(base: EditBase, other: str | os.PathLike[str], fields: Sequence[str] | None) -> _Layer:
    """Return the dataset that is to be a layer, checked as far as its manifest tells."""
    if not isinstance(other, (str, os.PathLike)):
        raise OptionError(f"the layer is {other!r:.60}; expected its folder or URL, as the manifest has to name it")
    location = relative_location(base.location, other)
    folder = open_layer(base.store, location, base.options)
    text, manifest = load_manifest(folder.store)
    if manifest.layers or manifest.deleted:
        raise OptionError(
            f"{os.fspath(other)!r} has layers or deleted samples of its own; pack it first, which folds them in "
            '("shardpack pack"), and attach that'
        )
    if not manifest.unique_keys:
        raise OptionError(f"in {os.fspath(other)!r} several samples have one key; pack it with keys that differ first")
    cache = shards_of(folder.store, manifest, manifest_crc32c=crc32c(text), options=folder.options)
    known = tuple(manifest.fields)
    given = known if fields is None else tuple(sorted(as_names("fields", fields)))
    if missing := sorted(set(given) - set(known)):
        raise FieldNotFoundError(f"the layer has no field {missing[0]!r}; it has: {', '.join(known) or 'none'}")
    if not given:
        raise OptionError(f"{os.fspath(other)!r} has no fields to give; attach a dataset with samples")
    layer = _Layer(location, text, manifest, cache, given)
    _check_layer(base, layer)
    return layer


def _check_layer(base: EditBase, layer: _Layer) -> None:
    """Refuse a layer that would make labels say what they do not mean."""
    if layer.location == ".":
        raise OptionError(f"{base.location!r} cannot be a layer of itself; name another dataset")
    if f"/{LAYER_FOLDER}/" in f"/{layer.location}/" and not is_layer_path(layer.location):
        raise OptionError(
            f"{layer.location!r} belongs to the edits of another dataset, whose gc would delete it; copy it first "
            '("shardpack copy"), and attach the copy'
        )
    plain = {field.removesuffix(".zst").removesuffix(".gz"): field for field in base.manifest.fields}
    for field in layer.fields:
        other = plain.get(field.removesuffix(".zst").removesuffix(".gz"), field)
        if other != field and field not in base.manifest.fields:
            raise OptionError(
                f"the layer gives {field!r} where the dataset has {other!r}, so that samples would have both; "
                f"pack the layer with {other!r}, or leave the field out (--fields)"
            )
    mine, theirs = base.manifest.classes, layer.manifest.classes
    if LABEL_FIELDS.intersection(layer.fields) and mine and theirs and mine[: len(theirs)] != theirs:
        raise OptionError(
            f"the layer numbers classes otherwise: {_shown(theirs)}, and the dataset has {_shown(mine)}; make its "
            'labels with "shardpack relabel", by the names of classes'
        )


def _shown(classes: Sequence[str]) -> str:
    return ", ".join(map(repr, classes[:4])) + (", ..." if len(classes) > 4 else "")


def _column(base: EditBase, layer: _Layer, progress: Progress) -> Integers:
    """Return (n) for each stored position of the dataset the layer's stored position + 1, or 0."""
    column = np.zeros(base.manifest.num_samples, np.int64)
    finder = KeyFinder(base, what=f"layer {layer.location!r}", total=layer.manifest.num_samples, progress=progress)
    first = 0
    for keys in _batches(layer.cache):
        positions = finder.find(keys)
        known = np.flatnonzero(positions >= 0)
        column[positions[known]] = known + first + 1
        first += len(keys)
    finder.finish()
    return column


def _batches(cache: ShardCache, *, at_once: int = KEYS_AT_ONCE) -> Iterator[list[bytes]]:
    """Yield the keys of all samples in order, many at a time; reads the index of each shard."""
    keys: list[bytes] = []
    for number in range(len(cache)):
        shard = cache.get(number)
        keys.extend(map(shard.keys.key_at, range(shard.first, shard.first + len(shard))))
        if len(keys) >= at_once:
            yield keys
            keys = []
    if keys:
        yield keys
