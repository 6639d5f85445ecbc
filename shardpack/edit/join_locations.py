"""A dataset with tars in several locations, as it is once they all are in its own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardpack.errors import OptionError
from shardpack.format.assemble import Parts, encode_table
from shardpack.format.manifest import OWN_FOLDER, Manifest, encode_manifest, segment_path
from shardpack.format.shard_info import ShardInfo


@dataclass(frozen=True, slots=True)
class JoinedDataset:
    """What is written of a dataset whose tars come to one folder or bucket.

    Attributes:
        manifest, text: The manifest, as a value and as it is written.
        shards: All of them, in order; where they come from is in the same order.
        tables: (path, parts) of shard table segments that the dataset does not have yet.
    """

    manifest: Manifest
    text: bytes
    shards: Sequence[ShardInfo]
    tables: Sequence[tuple[str, Parts]] = ()


def join_locations(text: bytes, manifest: Manifest, shards: Sequence[ShardInfo]) -> JoinedDataset:
    """Return a dataset as it is with all tars in its own folder; byte for byte the same where they are there already.

    Args:
        text, manifest: Its manifest, as it is written and as a value.
        shards: All of them, in order.

    Raises:
        OptionError: Tars of two locations have one name.
    """
    if manifest.locations == (OWN_FOLDER,):
        return JoinedDataset(manifest, text, shards)
    if len(manifest.locations) == 1:  # shards hold a number into the list, which stays
        manifest = replace(manifest, locations=(OWN_FOLDER,))
        return JoinedDataset(manifest, encode_manifest(manifest), shards)
    here = [replace(info, location=0) for info in shards]
    _check_names(here)
    segment, parts = encode_table(here, generation=manifest.generation)
    manifest = replace(manifest, locations=(OWN_FOLDER,), table_segments=(segment,))
    return JoinedDataset(manifest, encode_manifest(manifest), here, [(segment_path(segment), parts)])


def _check_names(shards: Sequence[ShardInfo]) -> None:
    seen: set[str] = set()
    for info in shards:
        if info.index_path in seen:
            raise OptionError(
                f"tars of two locations are called {info.name!r}, so that they cannot be in one; "
                "rename one of them and index them all again"
            )
        seen.add(info.index_path)
