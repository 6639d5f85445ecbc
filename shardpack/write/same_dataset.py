"""Tell by some samples whether a dataset was made from the same source, by the same steps."""

from __future__ import annotations

from collections.abc import Callable

from shardpack.format.checksum import crc32c
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.format.layout import index_path, is_packer_name
from shardpack.format.shard_index import ShardIndex, parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.write.apply_steps import Made
from shardpack.write.chunk_plan import ChunkPlan
from shardpack.write.pack_chunk import applier_of, outcomes
from shardpack.write.transform import Fields

COMPARED_SAMPLES = 4


def holds_planned_samples(plan: ChunkPlan, table: ShardTable, read: Callable[[str], bytes | None]) -> bool:
    """Return whether a dataset holds what some evenly drawn samples become, where the plan puts it.

    Args:
        plan: Which samples are in which chunk.
        table: The shards of the dataset.
        read: Returns a file of the dataset, or None.
    """
    chunk_of = {_stem(name.shard(0, compressed=False)): chunk for chunk, name in enumerate(plan.names)}
    shards_of: dict[int, list[ShardInfo]] = {}
    for info in table:
        is_compressed = info.name.endswith(COMPRESSED_SUFFIX)
        if not is_packer_name(info.name) or is_compressed != (plan.recipe.compression is not None):
            return False
        chunk = chunk_of.get(_stem(info.name))
        if chunk is None:
            return False
        shards_of.setdefault(chunk, []).append(info)
    for chunk, part in plan.found.compared(plan.spans, COMPARED_SAMPLES):
        made = list(outcomes(applier_of(plan.recipe.application), next(part.batches())))
        samples = [sample for _, outcome in made if isinstance(outcome, Made) for sample in outcome.samples]
        indexes = [
            parse_index(read(index_path(info.name)) or b"", name=info.name)
            for info in (shards_of.get(chunk, []) if samples else [])
        ]
        if not all(any(_holds(index, key, fields) for index in indexes) for key, fields in samples):
            return False
    return True


def _stem(name: str) -> str:
    """Return what the names of all shards of a chunk begin with."""
    return name.rpartition("-")[0]


def _holds(index: ShardIndex, key: str, fields: Fields) -> bool:
    """Return whether a shard has a sample with these payloads."""
    keys = index.keys()
    if key not in keys:
        return False
    members = {index.field_of(member): member for member in index.members(keys.index(key))}
    return members.keys() == fields.keys() and all(
        int(index.size[member]) == len(fields[field])
        and (index.crc32c is None or int(index.crc32c[member]) == crc32c(fields[field]))
        for field, member in members.items()
    )
