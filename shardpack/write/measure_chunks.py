"""What a source becomes, measured with a few of its samples: chunks are cut by that, and dry runs tell it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any

from shardpack.runtime.engine import Engine
from shardpack.write.chunk_input import ChunkInput, ChunkPart
from shardpack.write.chunk_plan import ChunkRecipe, Growth, plan_chunks
from shardpack.write.pack_chunk import close_applier, measure_growth


def measure(found: ChunkInput, recipe: ChunkRecipe, engine: Engine) -> list[Growth]:
    """Return what the drawn samples of each stretch become. Raises as `measure_growth`."""
    stretches: list[int] = []  # of each task

    def tasks() -> Iterator[ChunkPart]:
        for stretch, part in found.drawn():
            stretches.append(stretch)
            yield part

    growths: dict[int, Growth] = {}
    with closing(engine.map(partial(measure_growth, recipe), tasks())) as measured:
        for task, growth in measured:
            growths[stretches[task]] = growths.get(stretches[task], Growth()) + growth
    return [growths[stretch] for stretch in sorted(growths)] or [Growth()]


def estimate(found: ChunkInput, recipe: ChunkRecipe, engine: Engine) -> dict[str, Any]:
    """Return, under the names of a report, what `pack_chunks` would probably write; writes nothing."""
    try:
        growths = measure(found, recipe, engine)
    finally:
        close_applier()
    plan, growth = plan_chunks(found, recipe, growths), sum(growths, Growth())
    drawn, drawn_bytes = max(1, growth.samples), max(1, growth.tar_bytes)
    tar_bytes = found.planned_bytes * growth.new_tar_bytes // drawn_bytes
    count = found.num_samples
    if count is None:
        count = found.planned_bytes * growth.samples // drawn_bytes
    return {
        "num_samples": count * growth.new_samples // drawn,
        "num_shards": plan.num_chunks,
        "num_bytes": tar_bytes,
        "tar_bytes": tar_bytes,
        "payload_bytes": found.source_bytes * growth.new_tar_bytes // drawn_bytes,
    }
