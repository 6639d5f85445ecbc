"""A new layer in a manifest: its column of positions, and which earlier layers it leaves nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from shardpack.edit.base import EditBase
from shardpack.errors import DatasetNotFoundError
from shardpack.format.checksum import crc32c
from shardpack.format.layer_positions import parse_layer_positions
from shardpack.format.layout import RUN_PATH, WORK_FOLDER, file_path
from shardpack.format.manifest import LayerRef
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.named_files import Parts, encode_positions_file
from shardpack.read.open_dataset import load_manifest
from shardpack.runtime.arrays import Integers
from shardpack.storage.protocols import WritableStore

Layers = list[tuple[LayerRef, Parts | None]]


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A dataset that becomes a layer.

    Attributes:
        location: Where it is, as the manifest names it (`relative_location`).
        text: Its manifest, as the bytes of the file.
        fields: The fields that it gives.
    """

    location: str
    text: bytes
    fields: Sequence[str]


def with_layer(base: EditBase, new: NewLayer, column: Integers) -> Layers:
    """Return all layers of the next generation: those of the dataset, and last a new one.

    An earlier layer of which nothing would be visible any more is left out: one that was at the same place, or one
    all of whose samples and fields the new one has, in each of its own samples.

    Args:
        base: The dataset.
        new: The layer.
        column: (n) for each stored position of the dataset the layer's stored position + 1, or 0.
    """
    positions, parts = encode_positions_file(column, generation=base.manifest.generation + 1)
    manifest, checksum = parse_manifest(new.text), crc32c(new.text)
    layer = LayerRef(new.location, manifest.generation, len(new.text), checksum, tuple(sorted(new.fields)), positions)
    in_all = {field for field in new.fields if manifest.samples_per_field.get(field) == manifest.num_samples}
    return [*((ref, None) for ref in _still_visible(base, layer, column, in_all)), (layer, parts)]


def _still_visible(base: EditBase, layer: LayerRef, column: Integers, in_all: AbstractSet[str]) -> Iterator[LayerRef]:
    """Yield the layers to keep; `in_all` are the fields that each sample of the new layer has."""
    for ref in base.manifest.layers:
        if set(ref.fields) <= (set(layer.fields) if ref.location == layer.location else in_all):
            old = layer_column(base, ref)
            if ref.location == layer.location or not bool((column[: len(old)][old > 0] == 0).any()):
                continue
        yield ref


def layer_column(base: EditBase, layer: LayerRef) -> Integers:
    """Return the column of a layer of the dataset: (m) its stored position + 1 for each of the dataset's, or 0."""
    path, data = file_path(layer.positions), base.read(layer.positions)
    return np.asarray(parse_layer_positions(data, num_samples=base.manifest.num_samples, path=path)).view(np.int64)


def finished_layer(store: WritableStore) -> bytes | None:
    """Return the manifest of a layer that an earlier run has written, as the bytes of the file; None without one.

    It is the right one: the name of a layer's folder stands for what it holds.
    """
    try:
        text, _ = load_manifest(store)
    except DatasetNotFoundError:
        return None
    for name in store.names():
        if name == RUN_PATH or name.startswith(f"{WORK_FOLDER}/"):  # of a run that was killed just behind its end
            store.delete(name)
    return text
