"""The chunked run: pack samples whose lengths are not known before, with the same bytes for any jobs and kills.

    input -> drawn samples -> growth -> plan -> tasks -> pack_chunk in workers -> deliveries -> dataset

The growth is noted in the work folder before the first chunk is made. Each chunk notes its shards and its tally before
they are delivered. So the same command, after a kill, makes only the chunks that are not finished, by the same plan,
and reports the same totals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from xxhash import xxh3_128_hexdigest

from shardpack.commit.delivering import Delivering
from shardpack.commit.generations import newest_undamaged
from shardpack.commit.shared_transaction import SharedTransaction
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.runtime.engine import Engine, as_remote
from shardpack.storage.atomic import storage_errors
from shardpack.write.byte_progress import ByteProgress
from shardpack.write.chunk_input import ChunkInput
from shardpack.write.chunk_journal import deliver_chunk, finished_chunk
from shardpack.write.chunk_plan import ChunkPlan, ChunkRecipe, growth_record, growths_of, plan_chunks
from shardpack.write.encode_chunks import encode_chunks, same_options
from shardpack.write.make_there import NO_SCRATCH, MakeThere, probe_recipe, probe_target
from shardpack.write.measure_chunks import measure
from shardpack.write.pack_chunk import ChunkTask, MadeChunk, Tally, close_applier, pack_chunk
from shardpack.write.part_plan import PartPlan
from shardpack.write.request import PackRequest
from shardpack.write.same_dataset import holds_planned_samples


@dataclass(frozen=True, slots=True)
class PackedChunks:
    """What a run has left.

    Attributes:
        shards: All shards, in order.
        resumed_shards: How many of them an earlier run had already finished.
        tally: What happened to the samples, in this run and the ones that it continued; empty if another part of the
            plan has published.
        missing_chunks: Number of chunks that other parts have not finished; 0 if the dataset is complete.
    """

    shards: Sequence[ShardInfo]
    resumed_shards: int
    tally: Tally
    missing_chunks: int = 0


def pack_chunks(
    found: ChunkInput,
    recipe: ChunkRecipe,
    target: Target,
    request: PackRequest,
    *,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]] = (),
    engine: Engine,
) -> PackedChunks:
    """Write the dataset.

    Args:
        found: The samples of the source, in the order of packing.
        recipe: What becomes of them.
        target: Where the dataset is written.
        request: Says whether an existing dataset is replaced (`force`), and where `progress` is reported.
        recorded: What the manifest keeps of the request.
        rejected: (name, reason) of each sample that was left out before, for `rejected.jsonl`.
        engine: Runs one task per chunk.

    Raises:
        SourceError: A sample failed and `on_error` is "raise", or none is left; or a file has changed.
        DuplicateKeyError: The steps made two samples with one key.
        OutputExistsError: There is a dataset already and `force` is off, or another packer is at work.
        StorageError: The disk or the bucket refused. Finished shards stay; the same call continues.
    """
    run = ChunkedRun(found, recipe, request, recorded, rejected)
    try:
        with Transaction.new_dataset(
            target, "pack", force=request.force, run_digest=run.digest, keeps_run=request.with_table
        ) as transaction:
            if transaction.complete:
                return packed_chunks_before(target, Tally.of_record(transaction.totals))
            run.obey(transaction.note("plan"), engine, put_note=transaction.put_note)
            resumed = run.keep_finished(transaction)
            run.make(transaction, run.missing(), engine)
            transaction.publish(run.files(transaction), totals=run.tally().record())
            return run.packed(resumed)
    finally:
        close_applier()  # of this process, if the engine is this process


def packed_chunks_before(target: Target, tally: Tally) -> PackedChunks:
    """Return what is in a target that holds the dataset already."""
    newest = newest_undamaged(target)
    assert newest is not None
    shards = list(ShardTable.whole(newest.manifest, target.read))
    return PackedChunks(shards, len(shards), tally)


class ChunkedRun:
    """One run: measures, makes the chunks that are missing, and describes the dataset."""

    def __init__(
        self,
        found: ChunkInput,
        recipe: ChunkRecipe,
        request: PackRequest,
        recorded: Mapping[str, Any],
        rejected: Sequence[tuple[str, str]],
        *,
        anywhere: bool = False,
    ) -> None:
        """Prepare a run; `obey` or plan next. `anywhere`: see `ChunkPlan`."""
        self._found, self._recipe, self._recorded, self._rejected = found, recipe, recorded, rejected
        self._anywhere = anywhere
        self._recipe_digest, self._input_digest = recipe.digest(), found.digest(anywhere=anywhere)
        self._plan: ChunkPlan | None = None
        self._chunks: dict[int, MadeChunk] = {}
        self._counted = ByteProgress(request.progress, found.source_bytes)

    def digest(self) -> str:
        """Return a digest of all that determines the dataset."""
        classes = self._found.classes
        values = [self._input_digest, self._recipe_digest, dict(self._recorded)]
        return xxh3_128_hexdigest(json.dumps([*values, classes and list(classes), list(self._rejected)]).encode())

    @property
    def plan(self) -> ChunkPlan:
        """Which samples are in which chunk."""
        assert self._plan is not None
        return self._plan

    @property
    def num_units(self) -> int:
        """How many chunks there are."""
        return self.plan.num_chunks

    def obey(
        self,
        note: Mapping[str, Any] | None,
        engine: Engine,
        *,
        put_note: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Plan by the growth that a note of this plan holds, or else measure it, and note it for the next run."""
        if (remote := as_remote(engine)) is not None:
            probe_recipe(remote, self._recipe)
        growths = growths_of(note, self._growth_digest)
        if growths is None:
            growths = measure(self._found, self._recipe, engine)
            if put_note is not None:
                put_note("plan", growth_record(growths, self._growth_digest))
        self._plan = plan_chunks(self._found, self._recipe, growths, anywhere=self._anywhere)

    @property
    def _growth_digest(self) -> str:
        return xxh3_128_hexdigest(f"{self._input_digest} {self._recipe_digest}".encode())

    def keep_finished(self, transaction: Transaction) -> int:
        """Add the chunks that an earlier run finished from the same input, and delete all other shards.

        Returns the number of their shards.
        """
        with storage_errors(f"write to {transaction.location!r}"):
            for chunk in range(self.num_units):
                self.find(transaction, chunk)
            transaction.keep_only([info.name for made in self._chunks.values() for info in made.shards])
        return len(self._shards())

    def missing(self) -> list[int]:
        """Return the chunks that were not added."""
        return [chunk for chunk in range(self.num_units) if chunk not in self._chunks]

    def find(self, transaction: Delivering, unit: int) -> bool:
        """Add a chunk that an earlier run or another part has finished; return whether one has."""
        made = finished_chunk(transaction, self.plan, unit, self._recipe_digest)
        if made is not None:
            self._count_chunk(made)
        return made is not None

    def make(self, transaction: Delivering, units: Sequence[int], engine: Engine) -> None:
        """Make these chunks and deliver their shards."""
        plan, remote = self.plan, as_remote(engine)
        self._counted.expect(sum(map(plan.source_bytes, units)))
        with storage_errors(f"write to {transaction.location!r}"):
            if remote is not None:
                probe_target(remote, transaction)
            scratch = transaction.scratch if remote is None else NO_SCRATCH
            deliver = transaction.deliver if remote is None else transaction.record
            deliveries = transaction.queue_for(partial(deliver_chunk, transaction, deliver), engine.jobs)
        make = partial(pack_chunk, plan.recipe)
        parallel = -(-engine.jobs // max(1, len(units))) if remote is None else 1
        results = engine.map(
            make if remote is None else MakeThere(make, transaction.destination()),
            (ChunkTask(scratch, chunk, plan.names[chunk], plan.part(chunk), parallel) for chunk in units),
            backpressure=deliveries if remote is None else None,
            advance=lambda task, num_bytes: self._counted.advance(units[task], num_bytes),
        )
        deliveries.deliver_all(
            results,
            digest_of=lambda task: plan.digest(units[task], self._recipe_digest),
            delivered=self._count_chunk,
        )

    def _shards(self) -> list[ShardInfo]:
        return [info for chunk in sorted(self._chunks) for info in self._chunks[chunk].shards]

    def tally(self) -> Tally:
        """Return what happened to the samples of all chunks that were added."""
        return sum((self._chunks[chunk].tally for chunk in sorted(self._chunks)), Tally())

    def packed(self, resumed_shards: int) -> PackedChunks:
        """Return what this run has added."""
        return PackedChunks(self._shards(), resumed_shards, self.tally(), len(self.missing()))

    def files(self, transaction: Delivering) -> list[tuple[str, Any]]:
        """Return what describes the dataset, in the order in which to publish it; see `encode_chunks`."""
        return encode_chunks(
            self._shards(),
            self.tally(),
            transaction.read_index,
            classes=self._found.classes,
            recorded=self._recorded,
            rejected=self._rejected,
        )

    # One of several parts

    def describe(self, transaction: SharedTransaction) -> list[tuple[str, Any]]:
        """Return what describes the whole dataset, once all chunks are added; raises as `files`."""
        return self.files(transaction)

    def agreement(self) -> PartPlan:
        """Return what all parts agree on."""
        growth = growth_record(self.plan.growths, self._growth_digest)
        return PartPlan(
            self._found.members,
            digest=self.digest(),
            packed_with=self._recorded,
            more={"recipe": self._recipe.record(), "growth": growth},
            is_dataset=self._is_dataset,
        )

    def _is_dataset(self, read: Callable[[str], bytes | None]) -> bool:
        """Return whether a published dataset has the options and classes of the plan, and some drawn samples."""
        manifest = parse_manifest(read(MANIFEST_PATH) or b"")
        if manifest.classes != self._found.classes or not same_options(manifest.packed_with, self._recorded):
            return False
        return holds_planned_samples(self.plan, ShardTable.whole(manifest, read), read)

    def _count_chunk(self, made: MadeChunk) -> None:
        self._chunks[made.chunk] = made
        self._counted.finish(made.chunk, made.tally.source_bytes)
