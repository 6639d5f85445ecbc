"""Builders for tests of layers: datasets with layers, made by hand, and what they must give."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

import shardpack
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns
from shardpack.format.layout import FOLDER, MANIFEST_PATH
from shardpack.format.manifest import LayerRef
from shardpack.format.named_files import encode_positions_file
from shardpack.format.next_generation import next_generation
from tests.fakes import Samples, file_contents
from tests.read.datasets import CountingStore, write


class RemoteStore(CountingStore):
    """A counting store that is read like a bucket."""

    remote = True


def attach(
    base: Path,
    layer: Path,
    *,
    location: str | None = None,
    length: int | None = None,
    fields: tuple[str, ...] | None = None,
) -> Path:
    """Attach a layer by hand; return the base.

    Args:
        base: The folder of the base.
        layer: That of the layer.
        location: Where the manifest says that the layer is; by default a relative path.
        length: Length of the column of positions; all samples of the base by default.
        fields: The fields that the layer gives; all by default.
    """
    ds, own = shardpack.open(base), shardpack.open(layer)
    keys = {key: number + 1 for number, key in enumerate(own.keys())}
    column = np.array([keys.get(key, 0) for key in list(ds.keys())], np.uint64)[:length]
    parent, text = ds.manifest, (base / MANIFEST_PATH).read_bytes()
    layer_text = (layer / MANIFEST_PATH).read_bytes()
    file, parts = encode_positions_file(column, generation=parent.generation + 1)
    where = location or Path(os.path.relpath(layer, base)).as_posix()
    ref = LayerRef(where, own.manifest.generation, len(layer_text), crc32c(layer_text), fields or own.fields, file)
    layers = [*((old, None) for old in parent.layers), (ref, parts)]
    _, files = next_generation(parent, text, base_chain=chain_columns(ds.shards.columns), layers=layers)
    for name, pieces in files:
        (base / name).write_bytes(b"".join(pieces))
    return base


def layered(folder: Path, base: Samples, *layers: Samples, of_layers: Mapping[str, Any] | None = None, **options: Any):
    """Write a dataset with layers in its own folder; return the folder.

    Args:
        folder: Where to write.
        base, layers: The samples.
        of_layers: Options of the writer for the layers.
        options: Those for the base.
    """
    write(folder, base, **options)
    for number, samples in enumerate(layers):
        attach(folder, write(folder / FOLDER / "layers" / f"{number}", samples, **(of_layers or {})))
    return folder


def packed_layered(base: Samples, *layers: Samples, **options: Any) -> dict[str, bytes]:
    """Return the files of `layered`."""
    folder = Path(tempfile.mkdtemp())
    try:
        return file_contents(layered(folder / "data", base, *layers, **options))
    finally:
        shutil.rmtree(folder)


def joined(base: Samples, *layers: Samples) -> dict[str, dict[str, bytes]]:
    """Return the samples that a base with layers has, fields sorted."""
    found = {}
    for key, fields in base.items():
        own = dict(fields)
        for layer in layers:
            own.update(layer.get(key, {}))
        found[key] = dict(sorted(own.items()))
    return found


@st.composite
def layers_of(draw: st.DrawFn, keys: Sequence[str]) -> list[dict[str, dict[str, bytes]]]:
    """Layers for samples of these keys: each gives some of them fields, which replace or add, in any order."""
    fields = st.dictionaries(
        st.sampled_from(["bin", "cls", "json", "txt"]), st.binary(max_size=600), min_size=1, max_size=3
    )
    some = st.lists(st.sampled_from(keys), min_size=1, unique=True)
    return draw(
        st.lists(
            some.flatmap(
                lambda own: st.fixed_dictionaries(dict.fromkeys(own, fields)).map(
                    lambda found: {k: found[k] for k in own}
                )
            ),
            min_size=1,
            max_size=3,
        )
    )
