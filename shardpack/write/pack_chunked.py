"""Pack samples whose lengths are not known before; what a report says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shardpack.commit.target import Target
from shardpack.format.shard_info import samples_per_field
from shardpack.format.splits import splits_of_shards
from shardpack.runtime.engine import Engine
from shardpack.write.chunk_input import ChunkInput
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.chunked_run import pack_chunks
from shardpack.write.measure_chunks import estimate
from shardpack.write.pack_chunks_part import pack_chunks_part
from shardpack.write.part import Part
from shardpack.write.preview import preview_chunked
from shardpack.write.request import PackRequest


def pack_chunked(
    found: ChunkInput,
    recipe: ChunkRecipe,
    target: Target,
    request: PackRequest,
    *,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]] = (),
    engine: Engine,
    part: Part | None = None,
) -> dict[str, Any]:
    """Write the dataset, or estimate it; return totals under the names of a report. Arguments as of `pack_chunks`."""
    if request.dry_run:
        shown = preview_chunked(found, recipe)
        totals = estimate(found, recipe, engine)
        count = totals["num_samples"] if found.num_samples is None else found.num_samples
        return {
            **totals,
            "rejected": tuple(rejected),
            "preview": shown,
            "source_samples": count,
            "source_bytes": found.source_bytes,
        }
    packed = (pack_chunks if part is None else partial(pack_chunks_part, part=part))(
        found, recipe, target, request, recorded=recorded, rejected=rejected, engine=engine
    )
    tally, lengths = packed.tally, [info.num_bytes for info in packed.shards]
    return {
        "num_samples": sum(info.num_samples for info in packed.shards),
        "num_shards": len(packed.shards) + packed.missing_chunks,
        "missing_shards": packed.missing_chunks,
        "num_bytes": sum(lengths),
        "tar_bytes": tally.tar_bytes,
        "payload_bytes": tally.payload_bytes,
        "largest_shard_bytes": max(lengths, default=0),
        "resumed_shards": packed.resumed_shards,
        "samples_per_field": samples_per_field(packed.shards),
        "splits": {} if (splits := splits_of_shards(packed.shards)) is None else splits.counts(),
        "kept": tally.samples - tally.dropped - len(tally.rejected),
        "dropped": tally.dropped,
        "counts": tally.counts,
        "rejected": (*rejected, *tally.rejected),
        "source_samples": tally.samples if found.num_samples is None else found.num_samples,
        "source_bytes": tally.source_bytes if found.num_samples is None else found.source_bytes,
    }
