"""Describe a dataset with tars in several locations as it is once all tars are in its own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardpack.errors import OptionError
from shardpack.format.layout import file_path
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.format.manifest_json import encode_manifest
from shardpack.format.named_files import Parts, encode_table
from shardpack.format.shard_info import ShardInfo, repeated_name


@dataclass(frozen=True, slots=True)
class JoinedDataset:
    """A dataset whose tars are all in its own folder, as far as it has to be written.

    Attributes:
        manifest, text: The manifest, as a value and as the bytes of its file.
        shards: All shards, in the order of the original ones.
        tables: (path, parts) of segments of the shard table that the original does not have.
    """

    manifest: Manifest
    text: bytes
    shards: Sequence[ShardInfo]
    tables: Sequence[tuple[str, Parts]] = ()


def join_locations(text: bytes, manifest: Manifest, shards: Sequence[ShardInfo]) -> JoinedDataset:
    """Return a dataset as it is with all tars in its own folder; byte for byte the same if they already are.

    Args:
        text, manifest: The manifest, as the bytes of its file and as a value.
        shards: All shards, in order.

    Raises:
        OptionError: Tars of two locations have the same name.
    """
    if manifest.locations == (OWN_FOLDER,):
        return JoinedDataset(manifest, text, shards)
    if len(manifest.locations) == 1:  # shards hold an index into `locations`, which stays 0
        manifest = replace(manifest, locations=(OWN_FOLDER,))
        return JoinedDataset(manifest, encode_manifest(manifest), shards)
    joined = [replace(info, location=0) for info in shards]
    if (repeated := repeated_name(joined)) is not None:
        raise OptionError(
            f"tars of two locations are called {repeated!r}, so they cannot be in one folder; "
            "rename one of them and index them all again"
        )
    segment, parts = encode_table(joined, generation=manifest.generation)
    manifest = replace(manifest, locations=(OWN_FOLDER,), table_segments=(segment,))
    return JoinedDataset(manifest, encode_manifest(manifest), joined, [(file_path(segment), parts)])
