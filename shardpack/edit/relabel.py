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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from xxhash import xxh3_64, xxh3_128

from shardpack.codecs.compression import split_compression
from shardpack.codecs.field_types import parse_json
from shardpack.commit.open_target import target_of
from shardpack.commit.target import Target
from shardpack.edit.base import EditBase, open_base
from shardpack.edit.find_keys import SHOWN, find_keys
from shardpack.edit.label_values import class_number_fields, label_field, read_fields, read_labels
from shardpack.edit.layer import NewLayer, finished_layer, with_layer
from shardpack.edit.report import EditReport
from shardpack.edit.table_upkeep import next_with_table, of_table
from shardpack.errors import InvalidKeyError, SourceError
from shardpack.format.layout import LAYER_FOLDER
from shardpack.format.manifest import Manifest
from shardpack.format.naming import PLAIN_KEY, key_bytes, key_problem
from shardpack.format.next_generation import KEEP, next_generation
from shardpack.read.open_dataset import load_manifest
from shardpack.read.sample import Sample
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Announce, Progress, no_announcement, no_progress
from shardpack.sources.json_labels import compact_json
from shardpack.sources.label_classes import complete_labels, merged_label
from shardpack.sources.label_rows import LabelRow, Labels, raise_problems, read_label_rows
from shardpack.sources.label_shape import SHAPE, label_problems
from shardpack.sources.source import Problems
from shardpack.storage.open import Writable
from shardpack.storage.protocols import WritableStore
from shardpack.storage.subfolder import subfolder
from shardpack.write.shard_writer import ShardWriter

_CLASS = frozenset({"label", "class"})


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
    asked = _Asked(rows, name, update=update, new_classes=new_classes)

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
        folder = f"{LAYER_FOLDER}/{transaction.tag}-{made.digest()}"
        store = subfolder(base.store, folder)
        text = finished_layer(store)
        if text is None:
            target = target_of(store, work_dir=work_dir, check=transaction.check_claim)
            text = _write_layer(store, target, made, progress)
        column = np.zeros(base.manifest.num_samples, np.int64)
        column[made.positions] = np.arange(1, len(made.positions) + 1)
        layers = with_layer(base, NewLayer(folder, text, made.fields), column)
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


@dataclass(frozen=True, slots=True, eq=False)
class _NewLabels:
    """Labels as they will be written.

    Attributes:
        positions: (n) stored positions of their samples, ascending.
        keys, texts: (n) their keys, and their labels as JSON.
        numbers: (n) field -> number of the class that it gets, of the fields that hold such a number alone.
        field: The field that holds the labels.
        classes: The class list that they need; None if the dataset has none.
        new_classes: The classes of it that the dataset lacks.
    """

    positions: Integers
    keys: Sequence[str]
    texts: Sequence[bytes]
    numbers: Sequence[Mapping[str, int]]
    field: str
    classes: tuple[str, ...] | None
    new_classes: Sequence[str]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the layer, sorted."""
        return tuple(sorted({self.field}.union(*self.numbers)))

    def samples(self) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Yield (key, field -> plain text), in the order of the positions."""
        for key, text, numbers in zip(self.keys, self.texts, self.numbers, strict=True):
            yield key, {self.field: text, **{field: b"%d" % number for field, number in numbers.items()}}

    def digest(self) -> str:
        """Return 8 hexadecimal digits that differ where another layer would be written."""
        hashed = xxh3_64(compact_json([self.field, self.classes]))
        for key, texts in self.samples():
            hashed.update(b"%s\0%s\0" % (key_bytes(key), b"\0".join(texts.values())))
        return hashed.hexdigest()[:8]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What was asked for: rows, and what they were read from."""

    rows: Sequence[LabelRow]
    name: str
    update: bool
    new_classes: bool

    def digest(self) -> str:
        """Return a text that differs for other labels and options."""
        hashed = xxh3_128(repr((self.update, self.new_classes)).encode())
        for row in self.rows:
            hashed.update(repr((row.key, row.value)).encode("utf-8", "backslashreplace"))
        return hashed.hexdigest()

    def labels_of(self, base: EditBase, progress: Progress) -> _NewLabels:
        """Return the labels for the samples of a dataset, checked."""
        manifest, problems = base.manifest, Problems()
        rows, classes = complete_labels(self.rows, manifest.classes, new_classes=self.new_classes, name=self.name)
        found = find_keys(base, [row.key for row in rows], what=self.name, progress=progress)
        _check_keys(rows, self.name)
        order = np.argsort(found, kind="stable")
        positions, rows = found[order], [rows[number] for number in order.tolist()]
        values = [row.value for row in rows]
        if self.update:
            values = [
                _merged(row, old, problems)
                for row, old in zip(rows, read_labels(base, positions, progress), strict=True)
            ]
        if manifest.option("label_shape") == SHAPE:
            for row, value in zip(rows, values, strict=True):
                _check_shape(row, value, problems)
        numbers: list[Mapping[str, int]] = [{} for _ in rows]
        if fields := class_number_fields(manifest):
            given = [at for at, row in enumerate(rows) if _names_class(row)]
            for at, sample in zip(given, read_fields(base, positions[given], fields, progress), strict=True):
                numbers[at] = _class_numbers(rows[at], values[at], sample, problems)
        raise_problems(problems, self.name)
        known = manifest.classes or ()
        return _NewLabels(
            positions,
            [row.key for row in rows],
            list(map(compact_json, values)),
            numbers,
            label_field(manifest),
            classes,
            list(classes or ())[len(known) :],
        )


def _check_keys(rows: Sequence[LabelRow], name: str) -> None:
    """Refuse keys, which only a dataset of tars made elsewhere has, that a layer cannot hold."""
    unsafe = [row.key for row in rows if not PLAIN_KEY.fullmatch(row.key) and key_problem(row.key)]
    if unsafe:
        shown = ", ".join(f"{key!r:.80} ({key_problem(key)})" for key in unsafe[:SHOWN])
        more = f", and {len(unsafe) - SHOWN:,} more" if len(unsafe) > SHOWN else ""
        raise InvalidKeyError(
            f"{name}: {len(unsafe):,} of {len(rows):,} keys are none that new samples may have, so no layer can hold "
            f"them: {shown}{more}; pack the dataset with rename_keys (--rename-keys) first, and relabel that by its "
            "new keys; nothing was changed"
        )


def _names_class(row: LabelRow) -> bool:
    return isinstance(row.value, dict) and not _CLASS.isdisjoint(row.value)


def _class_numbers(row: LabelRow, value: Any, sample: Sample, problems: Problems) -> Mapping[str, int]:
    """Return field -> number of the new class, of the fields beside a label that hold another number.

    A class without a number is added to `problems`.
    """
    if not sample or not isinstance(value, dict):  # without such a field, or rejected already
        return {}
    number = value.get("label")
    if type(number) is not int:
        problems.reject(
            row.where,
            f"the label has no number for its class (label is {number!r:.60}), and the sample has one in "
            f"{next(iter(sample))!r}, which would stay; give the number as label, too",
        )
        return {}
    return {field: number for field, payload in sample.items() if payload != b"%d" % number}


def _merged(row: LabelRow, old: Any, problems: Problems) -> Any:
    """Return the old label with the values of a row; what is wrong with them is added to `problems`."""
    if not isinstance(row.value, dict):
        problems.reject(row.where, f"{row.value!r:.60} updates nothing, expected an object; correct it")
        return None
    try:
        return merged_label({} if old is None else old, row.value)
    except SourceError as error:
        problems.reject(row.where, str(error))
        return None


def _check_shape(row: LabelRow, value: Any, problems: Problems) -> None:
    """Add to `problems` what in a label contradicts its own width and height."""
    if not isinstance(value, dict):
        problems.reject(row.where, f"the label is {value!r:.60}, expected an object as the other labels are")
        return
    width, height = value.get("width"), value.get("height")
    sized = isinstance(width, int) and isinstance(height, int)
    found = list(label_problems(value if sized else {**value, "width": None, "height": None}, *_size(width, height)))
    if found:
        more = f", and {len(found) - 1} more" if len(found) > 1 else ""
        problems.reject(row.where, f"{found[0]}{more}")


def _size(width: Any, height: Any) -> tuple[int, int]:
    """Return the size of an image as its label says it; without one, one so large that everything is inside."""
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return 1 << 31, 1 << 31


def _write_layer(store: WritableStore, target: Target, made: _NewLabels, progress: Progress) -> bytes:
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
