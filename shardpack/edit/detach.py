"""Detach a layer: the next generation of a dataset is without it, and its files stay."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from shardpack.commit.edit_transaction import EditTransaction
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.layer import Layers, layer_column
from shardpack.edit.report import LayerReport
from shardpack.edit.table_upkeep import Next, next_with_table, of_table
from shardpack.errors import CorruptIndexError, OptionError, ShardNotFoundError
from shardpack.format.layout import file_path
from shardpack.format.manifest import LayerRef, Manifest
from shardpack.format.next_generation import next_generation
from shardpack.runtime.arguments import as_integer
from shardpack.runtime.progress import Announce, no_announcement
from shardpack.storage.open import Writable


def detach(
    dataset: Writable,
    layer: int | str | None = None,
    *,
    dry_run: bool = False,
    single_writer: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    announce: Announce = no_announcement,
) -> LayerReport:
    """Make a generation of a dataset without one of its layers; return which. The layer's files stay.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        layer: Its number, from 0 for the first one attached, or its location; not needed if there is one.
        dry_run, single_writer, storage_options, allow_locations, announce: As for `attach`.

    Raises:
        OptionError: The layer is missing, or there are several and none is named.
        OutputExistsError: Another edit came first.
    """
    began = time.perf_counter()
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations)

    def report(made: Mapping[str, Any], *, generation: int) -> LayerReport:
        return LayerReport(
            command="detach",
            location=base.location,
            generation=generation,
            parent=generation - 1,
            num_samples=base.manifest.num_visible,
            seconds=time.perf_counter() - began,
            dry_run=dry_run,
            layer=str(made["layer"]),
            fields=tuple(made["fields"]),
        )

    if dry_run:
        return report(_named(base.manifest, layer)[1], generation=base.manifest.generation + 1)
    with base.begin("detach", run_digest=repr(layer), single_writer=single_writer) as transaction:
        parent = transaction.parent
        if transaction.complete:
            return report(transaction.totals, generation=parent.generation)
        base = base.of(transaction)
        number, removed = _named(parent, layer)
        rest: Layers = [(ref, None) for at, ref in enumerate(parent.layers) if at != number]
        edit = {"command": "detach", "layer": removed["layer"]}
        make = partial(next_generation, base.manifest, base.text, layers=rest, base_chain=base.chain(), edit=edit)
        manifest, files = _next_without(base, transaction, parent.layers[number], make, announce)
        transaction.commit(manifest, files, totals=removed)
    return report(removed, generation=manifest.generation)


def _next_without(
    base: EditBase, transaction: EditTransaction, gone: LayerRef, make: Callable[..., Next], announce: Announce
) -> Next:
    """Return the next generation; without the label table if the file is lost that tells which of its rows change."""
    try:
        changed = of_table(gone.fields, np.flatnonzero(layer_column(base, gone)))
    except (CorruptIndexError, ShardNotFoundError):
        if base.manifest.table and of_table(gone.fields, np.zeros(0, np.int64)) is not None:
            announce(
                f"the label table is dropped, as {file_path(gone.positions)} is lost, which tells the rows to change; "
                f'make it anew with "shardpack table {base.location}"'
            )
            return make(table=())
        changed = None
    return next_with_table(base, transaction, make, changed=changed, announce=announce)


def _named(manifest: Manifest, layer: int | str | None) -> tuple[int, dict[str, Any]]:
    """Return the number of the layer that is named, and what the report says of it."""
    number = _number(manifest, layer)
    ref = manifest.layers[number]
    return number, {"layer": ref.location, "fields": list(ref.fields)}


def _number(manifest: Manifest, layer: int | str | None) -> int:
    """Return the number of a layer, by number or location; None for the only one."""
    places = [ref.location for ref in manifest.layers]
    listed = ", ".join(f"{number}: {place!r}" for number, place in enumerate(places)) or "none"
    if layer is None:
        if len(places) != 1:
            raise OptionError(f"name the layer to detach (--layer) by number or location; the dataset has: {listed}")
        return 0
    if isinstance(layer, str):
        at = [number for number, place in enumerate(places) if place.rstrip("/") == layer.rstrip("/")]
        if len(at) != 1:
            raise OptionError(
                f"{'several layers are' if at else 'no layer is'} at {layer!r}; the dataset has: {listed}"
            )
        return at[0]
    number = as_integer("layer", layer)
    if not 0 <= number < len(places):
        raise OptionError(f"there is no layer {number}; the dataset has: {listed}")
    return number
