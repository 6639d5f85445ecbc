"""The chunked run: pack a listing whose payloads change on the way, with the same bytes for any jobs and kills.

    listing -> drawn samples -> growth -> plan -> tasks -> pack_chunk in workers -> deliveries -> dataset

The growth is noted in the work folder before the first chunk is made. Each chunk notes its shards and its tally before
they are delivered. So the same command, after a kill, makes only the chunks that are not finished, by the same plan,
and reports the same totals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.codecs.encode import versions_for
from shardpack.commit.overwrite import newest_manifest
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.errors import SourceError
from shardpack.format.assemble import encode_dataset
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.runtime.engine import Engine, as_remote
from shardpack.runtime.threads import ordered_map
from shardpack.sources.listing import Listing
from shardpack.storage.atomic import storage_errors
from shardpack.write.chunk_plan import (
    ChunkPlan,
    ChunkRecipe,
    Growth,
    drawn_samples,
    growth_of,
    growth_record,
    listing_digest,
    plan_chunks,
)
from shardpack.write.duplicate_keys import SeenKeys
from shardpack.write.make_there import NO_SCRATCH, MakeThere, probe_recipe, probe_target
from shardpack.write.pack_chunk import (
    ChunkTask,
    DrawnTask,
    MadeChunk,
    Tally,
    close_applier,
    measure_growth,
    pack_chunk,
)
from shardpack.write.request import PackRequest
from shardpack.write.sharding import sample_bytes
from shardpack.write.transform import ENCODED

_DRAWN_AT_ONCE = 8  # samples
_INDEXES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class PackedChunks:
    """What a run has left.

    Attributes:
        shards: All shards, in order.
        resumed_shards: How many of them an earlier run had already finished.
        tally: What happened to the samples, in this run and the ones that it continued.
    """

    shards: Sequence[ShardInfo]
    resumed_shards: int
    tally: Tally


def measure(listing: Listing, recipe: ChunkRecipe, engine: Engine) -> Growth:
    """Return what evenly drawn samples become. Raises as `measure_growth`."""
    drawn = drawn_samples(listing.num_samples)
    parts = (drawn[i : i + _DRAWN_AT_ONCE] for i in range(0, len(drawn), _DRAWN_AT_ONCE))
    tasks = (DrawnTask(listing.take(part), recipe) for part in parts)
    with closing(engine.map(measure_growth, tasks)) as measured:
        return sum((growth for _, growth in measured), Growth())


def estimate(listing: Listing, recipe: ChunkRecipe, engine: Engine) -> dict[str, Any]:
    """Return, under the names of a report, what `pack_chunks` would probably write; writes nothing."""
    try:
        growth = measure(listing, recipe, engine)
    finally:
        close_applier()
    plan = plan_chunks(listing, recipe, growth)
    drawn, drawn_bytes = max(1, growth.samples), max(1, growth.tar_bytes)
    tar_bytes = int(sample_bytes(listing).sum()) * growth.new_tar_bytes // drawn_bytes
    return {
        "num_samples": listing.num_samples * growth.new_samples // drawn,
        "num_shards": plan.num_chunks,
        "num_bytes": tar_bytes,
        "tar_bytes": tar_bytes,
        "payload_bytes": int(listing.size.sum()) * growth.new_tar_bytes // drawn_bytes,
    }


def pack_chunks(
    listing: Listing,
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
        listing: The samples of the source, in the order of packing.
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
    run = _Run(listing, recipe, request, recorded, rejected)
    try:
        with Transaction.new_dataset(target, "pack", force=request.force, run_digest=run.digest) as transaction:
            if transaction.complete:
                newest = newest_manifest(target)
                assert newest is not None
                shards = list(ShardTable.whole(newest[1], target.read))
                return PackedChunks(shards, len(shards), Tally.of_record(transaction.totals))
            return run.pack(transaction, engine)
    finally:
        close_applier()  # of this process, if the engine is this process


class _Run:
    """One run: measures, makes the chunks that are missing, and publishes."""

    def __init__(
        self,
        listing: Listing,
        recipe: ChunkRecipe,
        request: PackRequest,
        recorded: Mapping[str, Any],
        rejected: Sequence[tuple[str, str]],
    ) -> None:
        self._listing, self._recipe, self._recorded, self._rejected = listing, recipe, recorded, rejected
        self._progress = request.progress
        self._recipe_digest, self._listing_digest = recipe.digest(), listing_digest(listing)
        self._chunks: dict[int, MadeChunk] = {}
        self._bytes_begun: dict[int, int] = {}  # chunk that is not finished -> bytes of the source that are done
        self._bytes_done, self._total_bytes = 0, int(listing.size.sum())

    def digest(self) -> str:
        """Return a digest of all that determines the dataset."""
        classes = self._listing.classes
        values = [self._listing_digest, self._recipe_digest, dict(self._recorded)]
        return xxh3_128_hexdigest(json.dumps([*values, classes and list(classes), list(self._rejected)]).encode())

    def pack(self, transaction: Transaction, engine: Engine) -> PackedChunks:
        """Make the chunks that no earlier run finished, and publish."""
        remote = as_remote(engine)
        with storage_errors(f"write to {transaction.location!r}"):
            if remote is not None:
                probe_recipe(remote, self._recipe)
                probe_target(remote, transaction)
            plan = self._plan(transaction, engine)
            resumed = self._keep_finished(transaction, plan)
            scratch = transaction.scratch if remote is None else NO_SCRATCH
            deliver = transaction.deliver if remote is None else transaction.record
            deliveries = transaction.queue_for(partial(_deliver, transaction, deliver), engine.jobs)
        for made in resumed:
            self._count_chunk(made)
        missing = [chunk for chunk in range(plan.num_chunks) if chunk not in self._chunks]
        # Where there are fewer chunks than jobs, each takes several; on a cluster, a task has no more than its share.
        parallel = -(-engine.jobs // max(1, len(missing))) if remote is None else 1
        results = engine.map(
            pack_chunk if remote is None else MakeThere(pack_chunk, transaction.destination()),
            (ChunkTask(scratch, chunk, plan.part(chunk), plan.recipe, parallel) for chunk in missing),
            backpressure=deliveries if remote is None else None,
            advance=lambda task, num_bytes: self._count_part(missing[task], num_bytes),
        )
        with closing(results), deliveries:  # on any error: end the tasks and the deliveries
            for task, made in results:
                deliveries.submit(made, plan.digest(missing[task], self._recipe_digest))
                for delivered in deliveries.poll():
                    self._count_chunk(delivered)
            for delivered in deliveries.drain():
                self._count_chunk(delivered)
        return self._publish(transaction, plan, sum(len(made.shards) for made in resumed))

    def _plan(self, transaction: Transaction, engine: Engine) -> ChunkPlan:
        """Return the plan: the one that is noted, or else a new one, which is noted first."""
        digest = xxh3_128_hexdigest(f"{self._listing_digest} {self._recipe_digest}".encode())
        growth = growth_of(transaction.note("plan"), digest)
        if growth is None:
            growth = measure(self._listing, self._recipe, engine)
            transaction.put_note("plan", growth_record(growth, digest))
        return plan_chunks(self._listing, self._recipe, growth)

    def _keep_finished(self, transaction: Transaction, plan: ChunkPlan) -> list[MadeChunk]:
        """Return the chunks that an earlier run finished from the same input, and delete all other shards."""
        found = (_finished(transaction, plan, chunk, self._recipe_digest) for chunk in range(plan.num_chunks))
        finished = [made for made in found if made is not None]
        transaction.keep_only([info.name for made in finished for info in made.shards])
        return finished

    def _publish(self, transaction: Transaction, plan: ChunkPlan, resumed_shards: int) -> PackedChunks:
        made = [self._chunks[chunk] for chunk in range(plan.num_chunks)]
        shards = [info for chunk in made for info in chunk.shards]
        tally = sum((chunk.tally for chunk in made), Tally())
        if not shards:
            raise SourceError(
                f"no sample is left of {tally.samples:,}: {tally.dropped:,} dropped, {len(tally.rejected):,} rejected"
                + (f", the first as {tally.rejected[0][1]}" if tally.rejected else "")
                + "; change the transform"
            )
        encoded = {name.removeprefix(ENCODED) for name in tally.counts if name.startswith(ENCODED)}
        _, files = encode_dataset(
            shards,
            _key_hashes(transaction, shards),
            classes=self._listing.classes,
            packed_with=_with_versions(self._recorded, versions_for(encoded)),
            rejected=[*self._rejected, *tally.rejected],
        )
        transaction.publish(files, totals=tally.record())
        return PackedChunks(shards, resumed_shards, tally)

    def _count_part(self, chunk: int, num_bytes: int) -> None:
        self._bytes_begun[chunk] = self._bytes_begun.get(chunk, 0) + num_bytes
        self._count(num_bytes)

    def _count_chunk(self, made: MadeChunk) -> None:
        self._chunks[made.chunk] = made
        self._count(made.tally.source_bytes - self._bytes_begun.pop(made.chunk, 0))

    def _count(self, num_bytes: int) -> None:
        self._bytes_done += num_bytes
        self._progress("pack", self._bytes_done, self._total_bytes)


def _note_name(chunk: int) -> str:
    return f"chunk-{chunk:06d}"


def _deliver(transaction: Transaction, deliver: Callable[[ShardInfo, str], None], made: MadeChunk, digest: str) -> None:
    """Note a chunk, and deliver its shards, or record that they are delivered. Safe in threads."""
    names = [info.name for info in made.shards]
    transaction.put_note(_note_name(made.chunk), {"input": digest, "shards": names, "tally": made.tally.record()})
    for info in made.shards:
        deliver(info, digest)


def _finished(transaction: Transaction, plan: ChunkPlan, chunk: int, recipe_digest: str) -> MadeChunk | None:
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


def _key_hashes(transaction: Transaction, shards: Iterable[ShardInfo]) -> npt.NDArray[np.uint64]:
    """Return the hashes of all keys, from the indexes of the shards.

    Raises:
        DuplicateKeyError: A key is in two shards.
    """
    seen = SeenKeys(transaction.read_index)
    read = partial(_keys_of, transaction.read_index)
    with closing(ordered_map(shards, read, depth=_INDEXES_AT_ONCE, purpose="keys")) as found:
        for name, keys in found:
            seen.add(keys, name)
    return seen.hashes()


def _keys_of(read: Callable[[str], bytes], info: ShardInfo) -> tuple[str, list[str]]:
    path = index_path(info.name)
    return info.name, parse_index(read(path), name=path).keys()


def _with_versions(recorded: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return what the manifest keeps, with the versions of the libraries that encoded values."""
    options = dict(recorded.get("options", {}))
    merged = {**options.pop("versions", {}), **versions}
    return {**recorded, "options": {**options, "versions": merged} if merged else options}
