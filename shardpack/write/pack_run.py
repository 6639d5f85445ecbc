"""The planned run: pack a listing in this process or in workers, with the same bytes either way.

    listing -> plan -> tasks -> pack_shard in workers -> deliveries -> key index, shard table, manifest

A run that was killed is continued: shards that it finished are kept if they were made from the same
files (names, sizes and times), and only the others are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.commit.open_target import newest_manifest
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import shard_name
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.sources.listing import Listing
from shardpack.storage.atomic import storage_errors
from shardpack.write.pack_shard import ShardTask, input_digest, pack_shard
from shardpack.write.request import PackRequest
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import ShardLimits, cut_shards, sample_bytes


@dataclass(frozen=True, slots=True, eq=False)
class PackPlan:
    """Which samples go into which shard.

    Attributes:
        listing: All samples, in the order of packing.
        cuts: (shards + 1) first sample of each shard, and the number of samples.
        shard_bytes: (shards) length of each tar, before it is compressed.
        compression: Of the shards; None for plain tars.
    """

    listing: Listing
    cuts: npt.NDArray[np.int64]
    shard_bytes: npt.NDArray[np.int64]
    compression: ShardCompression | None = None
    _digests: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_shards(self) -> int:
        return len(self.shard_bytes)

    def part(self, shard: int) -> Listing:
        """Return the samples of a shard, copied out of the listing."""
        return self.listing.slice(int(self.cuts[shard]), int(self.cuts[shard + 1]))

    def name(self, shard: int) -> str:
        """Return the name of a shard."""
        return shard_name(shard, compressed=self.compression is not None)

    def task(self, shard: int, scratch: ScratchDir) -> ShardTask:
        """Return the task that makes a shard."""
        return ShardTask(scratch, self.name(shard), self.part(shard), int(self.shard_bytes[shard]), self.compression)

    def input_digest(self, shard: int) -> str:
        """Return the digest of all that determines a shard; computed once."""
        if shard not in self._digests:
            self._digests[shard] = input_digest(self.name(shard), self.part(shard), self.compression)
        return self._digests[shard]


@dataclass(frozen=True, slots=True)
class Packed:
    """What a run has left.

    Attributes:
        resumed_shards: Number of shards that an earlier run had already finished.
        num_bytes: Total length of the shards.
        largest_shard_bytes: Length of the longest one.
    """

    resumed_shards: int
    num_bytes: int
    largest_shard_bytes: int


def plan_shards(listing: Listing, limits: ShardLimits, compression: ShardCompression | None = None) -> PackPlan:
    """Return the plan for a listing; reads nothing. Compressed shards are cut as plain ones.

    Raises:
        SourceError: A sample does not fit in a shard, and oversized shards are not allowed.
    """
    sizes = sample_bytes(listing)
    cuts = cut_shards(sizes, limits, listing)
    shard_bytes = np.add.reduceat(sizes, cuts[:-1]) + len(END_OF_ARCHIVE) if len(sizes) else np.zeros(0, np.int64)
    return PackPlan(listing, cuts, shard_bytes, compression)


def pack_plan(
    plan: PackPlan,
    target: Target,
    request: PackRequest,
    *,
    recorded: Mapping[str, Any],
    rejected: Sequence[tuple[str, str]] = (),
    engine: Engine = IN_PROCESS,
) -> Packed:
    """Write the dataset.

    Args:
        plan: Which samples go into which shard.
        target: Where the dataset is written.
        request: Says whether an existing dataset is replaced (`force`), and where `progress` is reported.
        recorded: What the manifest keeps of the request; see `PackRequest.recorded`.
        rejected: (name, reason) of each sample that was left out, for `rejected.jsonl`.
        engine: Runs one task per shard.

    Raises:
        OutputExistsError: There is a dataset already and `force` is off, or another packer is at work.
        SourceError: A file has changed or vanished since it was listed.
        StorageError: The disk or the bucket refused. Finished shards stay; the same call continues.
    """
    run = _Run(plan, request, recorded, rejected)
    with Transaction.new_dataset(target, "pack", force=request.force, run_digest=run.digest) as transaction:
        if transaction.complete:
            newest = newest_manifest(target)
            assert newest is not None
            table = ShardTable.whole(newest[1], target.read)
            return _packed(table, plan.num_shards)
        return run.pack(transaction, engine)


def _packed(infos: Iterable[ShardInfo], resumed_shards: int) -> Packed:
    lengths = [info.num_bytes for info in infos]
    return Packed(resumed_shards, sum(lengths), max(lengths, default=0))


class _Run:
    """One run: makes the shards that are missing, counts bytes, and publishes."""

    def __init__(
        self,
        plan: PackPlan,
        request: PackRequest,
        recorded: Mapping[str, Any],
        rejected: Sequence[tuple[str, str]],
    ) -> None:
        self._plan, self._recorded, self._rejected = plan, recorded, rejected
        self._progress = request.progress
        self._names = [plan.name(shard) for shard in range(plan.num_shards)]
        self._planned_bytes = dict(zip(self._names, plan.shard_bytes.tolist(), strict=True))
        self._infos: dict[str, ShardInfo] = {}  # of the finished shards
        self._bytes_begun: dict[str, int] = {}  # shard that is not finished -> bytes written so far
        self._total_bytes, self._bytes_done = int(plan.shard_bytes.sum()), 0

    def digest(self) -> str:
        """Return a digest of all that determines the dataset."""
        plan, classes = self._plan, self._plan.listing.classes
        digests = [plan.input_digest(shard) for shard in range(plan.num_shards)]
        values = [digests, dict(self._recorded), classes and list(classes), list(self._rejected)]
        return xxh3_128_hexdigest(json.dumps(values).encode())

    def pack(self, transaction: Transaction, engine: Engine) -> Packed:
        """Write the shards that no earlier run finished, and publish."""
        plan = self._plan
        with storage_errors(f"write to {transaction.location!r}"):
            finished = self._keep_finished(transaction)
            scratch, deliveries = transaction.scratch, transaction.delivery_queue(engine.jobs)
        for info in finished:
            self._count_shard(info)
        missing = [shard for shard, name in enumerate(self._names) if name not in self._infos]
        keys = plan.listing.keys
        hashes = hash_keys((key.encode() for key in keys), len(keys))
        results = engine.map(
            pack_shard,
            (plan.task(shard, scratch) for shard in missing),
            backpressure=deliveries,
            advance=lambda task, num_bytes: self._count_part(self._names[missing[task]], num_bytes),
        )
        with closing(results), deliveries:  # on any error: end the tasks and the deliveries
            for task, made in results:
                deliveries.submit(made, plan.input_digest(missing[task]))
                for info in deliveries.poll():
                    self._count_shard(info)
            for info in deliveries.drain():
                self._count_shard(info)
        _, files = encode_dataset(
            [self._infos[name] for name in self._names],
            hashes,
            classes=plan.listing.classes,
            packed_with=self._recorded,
            rejected=self._rejected,
        )
        transaction.publish(files)
        return _packed(self._infos.values(), len(finished))

    def _keep_finished(self, transaction: Transaction) -> list[ShardInfo]:
        """Return the shards that an earlier run finished from the same input, and delete its other shards."""
        found = transaction.keep_only(self._names)
        finished: list[ShardInfo] = []
        for shard, name in enumerate(self._names):
            if name in found:
                entry = transaction.finished(name, self._plan.input_digest(shard))
                if entry is None:
                    transaction.drop(name)
                else:
                    finished.append(entry.info)
        return finished

    def _count_part(self, name: str, num_bytes: int) -> None:
        self._bytes_begun[name] = self._bytes_begun.get(name, 0) + num_bytes
        self._count(num_bytes)

    def _count_shard(self, info: ShardInfo) -> None:
        self._infos[info.name] = info
        self._count(self._planned_bytes[info.name] - self._bytes_begun.pop(info.name, 0))

    def _count(self, num_bytes: int) -> None:
        self._bytes_done += num_bytes
        self._progress("pack", self._bytes_done, self._total_bytes)
