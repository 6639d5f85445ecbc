"""Edits of datasets that are files in a dict: what an editor would publish, without one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import shardpack
from shardpack.format.fingerprint import chain_columns
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, edit_tag, file_path, tagged_shard_name
from shardpack.format.next_generation import next_generation
from shardpack.storage.memory import MemoryStore
from tests.fakes import Samples
from tests.read.datasets import packed

Files = dict[str, bytes]


def edited(
    files: Files, *, delete: Iterable[int] = (), append: Samples | None = None, per_shard: int = 3, **changes: Any
) -> Files:
    """Return the files of the next generation of a dataset, those of the ones before it among them.

    Args:
        files: The dataset.
        delete: Stored positions to delete; those of appended samples come behind all others.
        append: Samples to append.
        per_shard: How many of them a shard holds.
        changes: Other changes, as `next_generation` takes them.
    """
    with shardpack.open(MemoryStore(files)) as ds:
        manifest, chain = ds.manifest, chain_columns(ds.shards.columns)
    added: Files = {}
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
    return files | added | {name: b"".join(parts) for name, parts in written}


def written(files: Files, folder: Path) -> Path:
    """Write the files of a dataset to a folder; return it."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
