"""Describe a dataset with tars in several locations as it is once all tars are in its own folder.

Packed shards of two locations that have one name get others: those that an edit gives to shards that it adds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shardpack.errors import OptionError
from shardpack.format.checksum import crc32c
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.layout import edit_tag, file_path, is_packer_name, shard_name, split_of_shard
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
        OptionError: Tars of two locations have the same name, and are not called as a packer does.
    """
    if manifest.locations == (OWN_FOLDER,):
        return JoinedDataset(manifest, text, shards)
    if len(manifest.locations) == 1:  # shards hold an index into `locations`, which stays 0
        manifest = replace(manifest, locations=(OWN_FOLDER,))
        return JoinedDataset(manifest, encode_manifest(manifest), shards)
    joined = _renamed(manifest, shards)
    if (repeated := repeated_name(joined)) is not None:
        raise OptionError(
            f"tars of two locations are called {repeated!r}, so they cannot be in one folder; "
            "rename one of them and index them all again"
        )
    segment, parts = encode_table(joined, generation=manifest.generation)
    manifest = replace(manifest, locations=(OWN_FOLDER,), table_segments=(segment,))
    return JoinedDataset(manifest, encode_manifest(manifest), joined, [(file_path(segment), parts)])


def _renamed(manifest: Manifest, shards: Sequence[ShardInfo]) -> list[ShardInfo]:
    """Return the shards in one folder; where a name is there already, all packed ones of its location have others."""
    joined = [replace(info, location=0) for info in shards]
    first: dict[str, int] = {}  # path of an index -> the first location that has it
    clashing = {
        info.location
        for info, new in zip(shards, joined, strict=True)
        if first.setdefault(new.index_path, info.location) != info.location
    }
    counts = Counter[tuple[int, str | None]]()
    for number, info in enumerate(shards):
        if info.location in clashing and is_packer_name(info.name):
            split = split_of_shard(info.name)
            tag = edit_tag(manifest.generation, crc32c(manifest.locations[info.location].encode()))
            name = shard_name(
                counts[info.location, split], split=split, compressed=info.name.endswith(COMPRESSED_SUFFIX), tag=tag
            )
            counts[info.location, split] += 1
            joined[number] = replace(joined[number], name=name)
    return joined
