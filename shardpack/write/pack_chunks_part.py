"""Make one part of a plan of chunks: what `pack_part.py` does for payloads that change while they are packed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from shardpack.commit.shared_transaction import published_plan
from shardpack.commit.target import Target
from shardpack.runtime.engine import Engine
from shardpack.write.chunk_input import ChunkInput
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.chunked_run import ChunkedRun, PackedChunks, packed_chunks_before
from shardpack.write.pack_chunk import Tally, close_applier
from shardpack.write.pack_part import make_part
from shardpack.write.part import Part
from shardpack.write.request import PackRequest


def pack_chunks_part(
    found: ChunkInput,
    recipe: ChunkRecipe,
    target: Target,
    request: PackRequest,
    part: Part,
    *,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]] = (),
    engine: Engine,
) -> PackedChunks:
    """Make the chunks of a part that are missing; see `pack_chunks`, and `pack_part` for errors of parts."""
    run = ChunkedRun(found, recipe, request, recorded, rejected, anywhere=True)
    try:
        run.obey(_as_note(published_plan(target)), engine)
        resumed = make_part(run, target, part, engine)
        return packed_chunks_before(target, Tally()) if resumed is None else run.packed(resumed)
    finally:
        close_applier()


def _as_note(published: bytes | None) -> Mapping[str, Any] | None:
    """Return the growth in a published plan, or None."""
    with suppress(ValueError, KeyError, TypeError):
        value = json.loads(published or b"")["growth"]
        return value if isinstance(value, dict) else None
    return None
