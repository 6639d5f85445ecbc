"""The notes of chunks in the journal: which shards each has made, and what happened to its samples."""

from __future__ import annotations

from collections.abc import Callable

from shardpack.commit.delivering import Delivering
from shardpack.format.shard_info import ShardInfo
from shardpack.write.chunk_plan import ChunkPlan
from shardpack.write.pack_chunk import MadeChunk, Tally


def _note_name(chunk: int) -> str:
    return f"chunk-{chunk:06d}"


def deliver_chunk(
    transaction: Delivering,
    deliver: Callable[[ShardInfo, str], None],
    made: MadeChunk,
    digest: str,
) -> None:
    """Note a chunk, and deliver its shards, or record that they are delivered. Safe in threads."""
    names = [info.name for info in made.shards]
    transaction.put_note(_note_name(made.chunk), {"input": digest, "shards": names, "tally": made.tally.record()})
    for info in made.shards:
        deliver(info, digest)


def finished_chunk(transaction: Delivering, plan: ChunkPlan, chunk: int, recipe_digest: str) -> MadeChunk | None:
    """Return a chunk if its note is of the same input, and all its shards are there."""
    note = transaction.note(_note_name(chunk))
    if note is None:
        return None
    digest = plan.digest(chunk, recipe_digest)
    try:
        if note["input"] != digest:
            return None
        entries = [transaction.finished(str(name), digest) for name in note["shards"]]
        tally = Tally.of_record(note["tally"])
    except (KeyError, TypeError, ValueError):
        return None  # a killed run may leave an incomplete note
    infos = tuple(entry.info for entry in entries if entry is not None)
    return MadeChunk(chunk, infos, tally) if len(infos) == len(entries) else None
