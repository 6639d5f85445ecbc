"""The labels of merged datasets whose classes get other numbers: one layer of the merged dataset.

labels of the datasets --ClassNumbers--> those that change --ShardWriter--> .shardpack/layers/<tag>/

The layer is complete before a manifest names it, and the first manifest does: wrong labels are never visible.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from shardpack.edit.label_values import BATCH
from shardpack.edit.layer import finished_layer
from shardpack.edit.merge_plan import MergePlan
from shardpack.errors import OptionError, SourceError
from shardpack.format.checksum import crc32c
from shardpack.format.layout import LAYER_FOLDER, edit_tag
from shardpack.format.manifest import LayerRef
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.named_files import Parts, encode_positions_file
from shardpack.read.open_dataset import load_manifest
from shardpack.read.read_many import read_samples
from shardpack.runtime.progress import Progress
from shardpack.sources.class_numbers import is_label_field
from shardpack.storage.protocols import WritableStore
from shardpack.storage.subfolder import subfolder
from shardpack.write.shard_writer import ShardWriter

NewLayers = list[tuple[LayerRef, Parts]]
_Row = tuple[int, str, dict[str, bytes]]  # stored position in the merged dataset, key, label fields


class RenumberedLabels:
    """The labels that a merged dataset has in its layer; they are read when they are checked or written."""

    def __init__(self, plan: MergePlan, progress: Progress) -> None:
        self._plan, self._progress = plan, progress

    def check(self) -> None:
        """Raise SourceError if a label contradicts the class list of its dataset."""
        for _ in self._rows():
            pass

    def write(self, store: WritableStore, *, work_dir: str | os.PathLike[str] | None) -> NewLayers:
        """Write the layer into the folder of the merged dataset, unless it is there; return it, or nothing.

        Raises:
            SourceError: A label contradicts the class list of its dataset.
        """
        rows = self._rows()
        if (first := next(rows, None)) is None:
            return []
        folder = f"{LAYER_FOLDER}/{self._tag()}"
        layer = subfolder(store, folder)
        column = np.zeros(len(self._plan.hashes), np.int64)
        column[first[0]] = count = 1
        text = finished_layer(layer)
        if text is None:
            with ShardWriter(layer, classes=self._plan.classes, work_dir=work_dir) as writer:
                writer.write(first[1], first[2])
                for count, (position, key, fields) in enumerate(rows, 2):
                    writer.write(key, fields)
                    column[position] = count
            text, _ = load_manifest(layer)
        else:
            for count, (position, _, _) in enumerate(rows, 2):
                column[position] = count
        manifest = parse_manifest(text)
        positions, parts = encode_positions_file(column, generation=1)
        ref = LayerRef(folder, manifest.generation, len(text), crc32c(text), tuple(sorted(manifest.fields)), positions)
        return [(ref, parts)]

    def _rows(self) -> Iterator[_Row]:
        """Yield the samples that have a label whose number changes, with all their label fields."""
        plan = self._plan
        for each, first, numbers in plan.renumbered():
            fields = tuple(filter(is_label_field, each.manifest.fields))
            shown = np.ones(each.manifest.num_samples, bool)
            shown[each.deleted()] = False
            positions = np.flatnonzero(shown)
            for begin in range(0, len(positions), BATCH):
                batch = positions[begin : begin + BATCH]
                for position, sample in zip(batch.tolist(), read_samples(each.cache, batch, fields), strict=True):
                    old = {field: bytes(sample[field]) for field in fields if field in sample}
                    try:
                        new = {field: numbers.payload(field, payload) for field, payload in old.items()}
                    except (OptionError, SourceError) as error:
                        raise type(error)(f"{each.location!r}: {error.args[0]}", key=sample.key) from error
                    if new != old:
                        yield first + position, sample.key, new
                self._progress("read", min(begin + BATCH, len(positions)), len(positions))

    def _tag(self) -> str:
        """Return the name of the layer's folder, which differs where another layer would be written."""
        inputs = [(each.manifest.fingerprint, each.manifest.classes) for each in self._plan.inputs]
        return edit_tag(1, crc32c(repr(inputs).encode("utf-8", "backslashreplace")))
