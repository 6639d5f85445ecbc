"""Which tars a segment of the shard table that is lost may have listed, in which order: names tell, more or less.

A guess is proved by making the segment of it: its checksum is that in the manifest, or the guess was wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, groupby, islice, permutations
from typing import NamedTuple

from shardpack.format.layout import in_packed_order, is_index_path, is_packer_name, shard_of_index, tag_of_shard
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.index.find import SUFFIXES

_MOST_ORDERS = 120  # of the inputs of a merged dataset that are tried: all of 5


class Place(NamedTuple):
    """Where a tar is: number of its location in the manifest, and its name there."""

    location: int
    name: str


def guess_tables(manifest: Manifest, names: Collection[str], generation: int) -> Iterator[list[Place]]:
    """Yield lists of tars that a segment may list: those of its generation in packed order, or all by name.

    Of a merged dataset those of its inputs, one after another: in other locations, as their indexes tell, or copied
    under a tag for each, which does not tell their order.

    Args:
        manifest: The manifest that names the segment.
        names: Names of all files in the dataset's folder.
        generation: The generation that made the segment.
    """
    here = manifest.locations.index(OWN_FOLDER) if OWN_FOLDER in manifest.locations else 0
    tars = sorted(name for name in names if name.endswith(SUFFIXES) and not name.startswith("."))
    packed = [name for name in tars if is_packer_name(name) and _generation_of_tag(name) == generation]
    yield [Place(here, name) for name in in_packed_order(packed)]
    if manifest.option("indexed"):
        yield [Place(here, name) for name in tars]
    if generation == 1 and manifest.option("merged"):
        by_tag = [[Place(here, name) for name in tagged] for tagged in _by_tag(packed)]
        for order in islice(permutations(by_tag), _MOST_ORDERS):
            yield [*chain.from_iterable(order)]
        yield _indexed_elsewhere(manifest, names)


def _indexed_elsewhere(manifest: Manifest, names: Iterable[str]) -> list[Place]:
    """Return the shards in other locations that have an index, by location and in packed order, or else by name."""
    elsewhere: dict[int, list[str]] = {}
    for path in filter(is_index_path, names):
        location, name = shard_of_index(path)
        if location < len(manifest.locations) and manifest.locations[location] != OWN_FOLDER:
            elsewhere.setdefault(location, []).append(name)
    return [
        Place(location, name)
        for location, found in sorted(elsewhere.items())
        for name in (in_packed_order(found) if all(map(is_packer_name, found)) else sorted(found))
    ]


def _by_tag(names: Iterable[str]) -> list[list[str]]:
    """Return names of packed shards in packed order, those of each tag by themselves."""
    return [list(group) for _, group in groupby(in_packed_order(names), tag_of_shard)]


def _generation_of_tag(name: str) -> int:
    """Return the generation that added a packed shard."""
    tag = tag_of_shard(name)
    return 1 if tag is None else int(tag[1:].partition("-")[0])
