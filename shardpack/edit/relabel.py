"""Give samples other labels, by key: a layer of the field `json` (or `json.zst`, `json.gz`), in one step.

    labels --read, complete, merge--> new labels --ShardWriter--> .shardpack/layers/<tag>/ --attach--> next generation

Samples that have the number of their class in `cls`, too, get the new one there: the two never differ by an edit.
Every row is checked before anything is written. The layer is an ordinary dataset, its samples in stored order, so that
streams read it in whole blocks beside the base.
"""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import parse_json
from shardpack.commit.edit_transaction import EditTransaction
from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.layer import NewLayer, finished_layer, with_layer
from shardpack.edit.new_labels import AskedLabels, NewLabels
from shardpack.edit.report import EditReport
from shardpack.edit.table_upkeep import next_with_table, of_table
from shardpack.errors import SourceError
from shardpack.format.layout import LAYER_FOLDER
from shardpack.format.manifest import Manifest
from shardpack.format.next_generation import KEEP, next_generation
from shardpack.read.open_dataset import load_manifest
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.sources.label_rows import Labels, read_label_rows
from shardpack.storage.open import Writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.subfolder import subfolder
from shardpack.write.shard_writer import ShardWriter


@dataclass(frozen=True, slots=True)
class RelabelReport(EditReport):
    """What `relabel` did, or would do; `changed` is the number of samples that have another label.

    Attributes:
        new_classes: Classes that were added at the end of the class list.
    """

    new_classes: tuple[str, ...] = ()


def relabel(
    dataset: Writable,
    labels: Labels,
    *,
    update: bool = False,
    key_column: str = "key",
    new_classes: bool = False,
    dry_run: bool = False,
    single_writer: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    allow_locations: bool | Sequence[str] = False,
    work_dir: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
    announce: Announce = no_announcement,
) -> RelabelReport:
    """Give samples other JSON labels, by key, as the next generation of a dataset; return how many.

    No image byte is read or written. Number and name of a class are completed from the class list of the dataset, and
    refused where they contradict it. Samples with a field `cls` get the number of the new class there, too.

    Args:
        dataset: Folder or URL of the dataset, or a store that can be written to.
        labels: A file of rows, each a key and the values that are the sample's new label: CSV, TSV, JSON Lines or
            Parquet; or JSON, an object key -> label or a list of rows; or a dict key -> label, or pairs of them.
        update: Set the names that a row gives in the old label, and keep its others; names at the top, nothing deeper.
            Empty cells of CSV and nulls of Parquet then give nothing.
        key_column: Name of the column or member that holds the key.
        new_classes: Add classes that are not in the list at its end; otherwise they are an error.
        dry_run: Check everything and return what would be done, but write nothing.
        single_writer: Promise that nobody else edits the dataset meanwhile; for stores that cannot create an object
            only if it is absent.
        storage_options, allow_locations: As `open` takes them.
        work_dir: Local folder in which the layer's shards are made if the dataset is in a bucket.
        progress: Called with the phases "find" and "read" (samples), then "write" and "table".
        announce: Called with a line if the label table is dropped, because pyarrow is not installed.

    Raises:
        SourceError: Labels cannot be read, do not parse, come twice, or contradict the class list or their image.
        UnknownKeyError: The dataset has no samples with some of the keys.
        InvalidKeyError: Some keys are none that a packer would write, so that no layer can hold them.
        OutputExistsError: Another edit came first.
    """
    began = time.perf_counter()
    name = os.fspath(labels) if isinstance(labels, (str, os.PathLike)) else "labels"
    rows = read_label_rows(labels, key_column=key_column, without_nulls=update)
    if not rows:
        raise SourceError(f"{name} has no rows; there is nothing to change")
    base = open_base(dataset, storage_options=storage_options, allow_locations=allow_locations, work_dir=work_dir)
    asked = AskedLabels(rows, name, update=update, new_classes=new_classes)

    def report(manifest: Manifest, added: Sequence[str], *, generation: int) -> RelabelReport:
        return RelabelReport(
            command="relabel",
            location=base.location,
            generation=generation,
            parent=generation - 1,
            num_samples=manifest.num_visible,
            changed=len(rows),
            seconds=time.perf_counter() - began,
            dry_run=dry_run,
            new_classes=tuple(added),
        )

    if dry_run:
        made = asked.labels_of(base, progress)
        return report(base.manifest, made.new_classes, generation=base.manifest.generation + 1)
    with base.begin("relabel", run_digest=asked.digest(), single_writer=single_writer) as transaction:
        if transaction.complete:
            parent = transaction.parent
            return report(parent, transaction.totals["new_classes"], generation=parent.generation)
        base = base.of(transaction)
        made = asked.labels_of(base, progress)
        layer = _layer(base, transaction, made, work_dir=work_dir, progress=progress)
        column = np.zeros(base.manifest.num_samples, np.int64)
        column[made.positions] = np.arange(1, len(made.positions) + 1)
        layers = with_layer(base, layer, column)
        make = partial(
            next_generation,
            base.manifest,
            base.text,
            layers=layers,
            classes=KEEP if made.classes is None else made.classes,
            base_chain=base.chain(),
            edit={"command": "relabel", "changed": len(rows)},
        )
        changed = of_table(made.fields, made.positions)
        manifest, files = next_with_table(
            base, transaction, make, changed=changed, announce=announce, progress=progress
        )
        transaction.commit(manifest, files, totals={"new_classes": made.new_classes})
    return report(manifest, made.new_classes, generation=manifest.generation)


def _layer(
    base: EditBase,
    transaction: EditTransaction,
    made: NewLabels,
    *,
    work_dir: str | os.PathLike[str] | None,
    progress: Progress,
) -> NewLayer:
    """Return the labels as a layer; it is not written again where a run that this one continues has done so."""
    folder = f"{LAYER_FOLDER}/{transaction.tag}-{made.digest()}"
    store = subfolder(base.store, folder)
    text = finished_layer(store)
    if text is None:
        target = target_of(store, work_dir=work_dir, check=transaction.check_claim)
        text = _write_layer(store, target, made, progress)
    return NewLayer(folder, text, made.fields)


def _write_layer(store: WritableStore, target: Target, made: NewLabels, progress: Progress) -> bytes:
    """Write the labels as a dataset of their own; return the bytes of its manifest."""
    total = len(made.keys)
    with ShardWriter(target, classes=made.classes) as writer:
        for number, (key, texts) in enumerate(made.samples()):
            writer.write(key, {field: _payload(field, text) for field, text in texts.items()})
            if number % 4096 == 0:
                progress("write", number, total)
    progress("write", total, total)
    return load_manifest(store)[0]


def _payload(field: str, text: bytes) -> Any:
    """Return what a writer takes for a JSON text, which a number is too, in a field that may be compressed."""
    _, suffix = split_compression(field)
    if suffix is None:
        return text
    return gzip.compress(text, mtime=0) if suffix == "gz" else parse_json(text)
