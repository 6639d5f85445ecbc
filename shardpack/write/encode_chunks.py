"""The files that make a dataset of finished chunks: shard table, key index, splits, manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.codecs.encode import versions_for
from shardpack.errors import SourceError
from shardpack.format.assemble import encode_dataset
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import splits_of_shards
from shardpack.runtime.threads import ordered_map
from shardpack.write.duplicate_keys import SeenKeys
from shardpack.write.pack_chunk import Tally
from shardpack.write.transform import ENCODED

_INDEXES_AT_ONCE = 8
ReadIndex = Callable[[str], bytes]  # path -> the index of a shard


def encode_chunks(
    shards: Sequence[ShardInfo],
    tally: Tally,
    read_index: ReadIndex,
    *,
    classes: Sequence[str] | None,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]],
) -> list[tuple[str, Any]]:
    """Return all files but tars and shard indexes, in the order in which to publish them.

    Args:
        shards: All shards, in order.
        tally: What happened to the samples of all chunks.
        read_index: Returns the index of a shard, by its path.
        classes: Class names.
        recorded: What the manifest keeps of the request.
        rejected: (name, reason) of each sample that was left out before.

    Raises:
        SourceError: The source has no samples, or none are left.
        DuplicateKeyError: A key is in two shards.
    """
    if not tally.samples:
        raise SourceError("the source has no samples; name one that has some")
    if not shards:
        raise SourceError(
            f"no sample is left of {tally.samples:,}: {tally.dropped:,} dropped, {len(tally.rejected):,} rejected"
            + (f", the first as {tally.rejected[0][1]}" if tally.rejected else "")
            + "; change the transform"
        )
    encoded = {name.removeprefix(ENCODED) for name in tally.counts if name.startswith(ENCODED)}
    _, files = encode_dataset(
        shards,
        _key_hashes(read_index, shards),
        classes=classes,
        splits=splits_of_shards(shards),
        packed_with=_with_versions(recorded, versions_for(encoded)),
        rejected=[*rejected, *tally.rejected],
    )
    return files


def same_options(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two records of how a dataset was packed agree, but for the versions of encoders."""

    def without_versions(recorded: Mapping[str, Any]) -> Any:
        options = {name: value for name, value in recorded.get("options", {}).items() if name != "versions"}
        return json.loads(json.dumps({**recorded, "options": options}))

    return bool(without_versions(one) == without_versions(other))


def _key_hashes(read_index: ReadIndex, shards: Iterable[ShardInfo]) -> npt.NDArray[np.uint64]:
    """Return the hashes of all keys, from the indexes of the shards.

    Raises:
        DuplicateKeyError: A key is in two shards.
    """
    seen = SeenKeys(read_index)
    read = partial(_keys_of, read_index)
    with closing(ordered_map(shards, read, depth=_INDEXES_AT_ONCE, purpose="keys")) as found:
        for name, keys in found:
            seen.add(keys, name)
    return seen.hashes()


def _keys_of(read_index: ReadIndex, info: ShardInfo) -> tuple[str, list[str]]:
    path = index_path(info.name)
    return info.name, parse_index(read_index(path), name=path).keys()


def _with_versions(recorded: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what the manifest keeps, with the versions of the libraries that encoded values."""
    options = dict(recorded.get("options", {}))
    merged = {**options.pop("versions", {}), **versions}
    return {**recorded, "options": {**options, "versions": merged} if merged else options}
