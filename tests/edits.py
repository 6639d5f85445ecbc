"""Generations of a dataset in a folder, made of the format's functions alone: what edits leave, without the edits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import shardpack
from shardpack.format.assemble import encode_shard
from shardpack.format.checksum import crc32c
from shardpack.format.fingerprint import chain_columns
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, edit_tag, file_path, shard_name, tagged_shard_name
from shardpack.format.manifest import LayerRef, Manifest
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.named_files import encode_positions_file
from shardpack.format.next_generation import next_generation
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import Splits
from shardpack.storage.memory import MemoryStore
from tests.fakes import Samples
from tests.format.builders import small_shard
from tests.read.datasets import packed


def newest(folder: Path) -> Manifest:
    return parse_manifest((folder / MANIFEST_PATH).read_bytes())


def with_next_version(text: str) -> str:
    """Return a manifest as the next version of the format would have it."""
    body = text.replace('"version": 1', '"version": 2')
    body = body[: body.rindex('  "crc32c"')]
    return f'{body}  "crc32c": "{crc32c(body.encode()):08x}"\n}}\n'


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files of a dataset to a folder; return it."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


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


def edited_files(
    files: Mapping[str, bytes],
    *,
    delete: Iterable[int] = (),
    append: Samples | None = None,
    per_shard: int = 3,
    **changes: Any,
) -> dict[str, bytes]:
    """Return the files of the next generation of a dataset that is a dict, those of the ones before it among them.

    Args:
        files: The dataset.
        delete: Stored positions to delete; those of appended samples come behind all others.
        append: Samples to append.
        per_shard: How many of them a shard holds.
        changes: Other changes, as `next_generation` takes them.
    """
    with shardpack.open(MemoryStore(files)) as ds:
        manifest, chain = ds.manifest, chain_columns(ds.shards.columns)
    added: dict[str, bytes] = {}
    if append:
        new, tag = packed(append, max_shard_samples=per_shard), edit_tag(manifest.generation + 1, len(files))
        with shardpack.open(MemoryStore(new)) as more:
            shards = [replace(info, name=tagged_shard_name(info.name, tag)) for info in more.shards]
            for old, named in zip(more.shards, shards, strict=True):
                added |= {named.name: new[old.name], named.index_path: new[old.index_path]}
        changes |= {"shards": shards, "hashes": hash_keys(append)}
    _, written = next_generation(
        manifest,
        files[MANIFEST_PATH],
        base_chain=chain,
        deleted=np.array(sorted(delete), np.int64),
        read=lambda file: files[file_path(file)],
        **changes,
    )
    return {**files} | added | {name: b"".join(parts) for name, parts in written}
