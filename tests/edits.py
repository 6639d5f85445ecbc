"""Generations of a dataset in a folder, made of the format's functions alone: what edits leave, without the edits."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shardpack.format.assemble import encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, file_path, shard_name
from shardpack.format.manifest import LayerRef, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.named_files import encode_positions_file
from shardpack.format.next_generation import next_generation
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import Splits
from tests.format.builders import small_shard


def newest(folder: Path) -> Manifest:
    return parse_manifest((folder / MANIFEST_PATH).read_bytes())


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def edited(folder: Path, **changes: Any) -> Manifest:
    """Make the next generation with `next_generation`."""
    text = (folder / MANIFEST_PATH).read_bytes()
    parent = parse_manifest(text)
    table = ShardTable.whole(parent, lambda path: (folder / path).read_bytes())
    manifest, files = next_generation(
        parent,
        text,
        base_chain=chain_columns(table.columns()) if len(table) else 0,
        read=lambda file: (folder / file_path(file)).read_bytes(),
        **changes,
    )
    write(folder, {name: b"".join(parts) for name, parts in files})
    return manifest


def appended(
    folder: Path,
    samples: dict[str, dict[str, bytes]],
    *,
    digest: int = 0x5F3A9C01,
    split: str | None = None,
    **changes: Any,
) -> Manifest:
    """Append one shard with these samples."""
    name = shard_name(0, split=split, tag=f"g{newest(folder).generation + 1:06d}-{digest:08x}")
    data, index = small_shard(samples)
    info, parts = encode_shard(name, index)
    write(folder, {name: data, info.index_path: b"".join(parts)})
    return edited(folder, shards=[info], hashes=hash_keys(samples), **changes)


def splits_of(*runs: tuple[str | None, int]) -> Splits:
    splits = Splits.of_runs(runs)
    assert splits is not None
    return splits


def signed(values: Mapping[str, Any]) -> bytes:
    """The text of a manifest with any values, and a checksum that fits."""
    lines = [
        f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)},\n"
        for name, value in values.items()
        if name != "crc32c"
    ]
    text = ("{\n" + "".join(lines)).encode()
    return text + b'  "crc32c": "%08x"\n}\n' % crc32c(text)


def deleted(folder: Path, *positions: int) -> Manifest:
    return edited(folder, deleted=np.array(positions))


def layered(folder: Path, layer: Path, column: list[int], *, location: str | None = None) -> Manifest:
    """Attach a dataset inside the folder as a layer; `column` leads from base positions to its positions + 1."""
    text = (layer / MANIFEST_PATH).read_bytes()
    manifest, base = parse_manifest(text), newest(folder)
    positions, parts = encode_positions_file(np.array(column), generation=base.generation + 1)
    location = location or os.path.relpath(layer, folder).replace(os.sep, "/")
    ref = LayerRef(location, manifest.generation, len(text), crc32c(text), manifest.fields, positions)
    return edited(folder, layers=[*((old, None) for old in base.layers), (ref, parts)])
