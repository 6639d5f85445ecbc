"""The planned run: pack a listing in this process or in workers, with the same bytes either way.

    listing -> plan -> tasks -> pack_shard in workers -> deliveries -> key index, shard table, manifest

A run that was killed is continued: shards that it finished are kept if they were made from the same
files (names, sizes and times), and only the others are written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import starmap
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.commit.delivering import Delivering
from shardpack.commit.delivery_queue import DeliveryQueue
from shardpack.commit.generations import newest_undamaged
from shardpack.commit.scratch import ScratchDir
from shardpack.commit.shared_transaction import SharedTransaction
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from shardpack.format.splits import splits_of_shards
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.runtime.engine import IN_PROCESS, Engine, RemoteEngine, Results, as_remote
from shardpack.sources.listing import Listing
from shardpack.storage.atomic import storage_errors
from shardpack.write.byte_progress import ByteProgress
from shardpack.write.make_there import NO_SCRATCH, MakeThere, probe_target
from shardpack.write.pack_shard import ShardTask, input_digest, pack_shard
from shardpack.write.part_plan import PartPlan
from shardpack.write.plan_members import ListedMembers
from shardpack.write.request import PackRequest
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import ShardLimits, UnitName, cut_shards, sample_bytes, unit_names


@dataclass(frozen=True, slots=True, eq=False)
class PackPlan:
    """Which samples go into which shard.

    Attributes:
        listing: All samples, in the order of packing.
        cuts: (shards + 1) first sample of each shard, and the number of samples.
        shard_bytes: (shards) length of each tar, before it is compressed.
        names: (shards) split of each shard, and its number in that.
        compression: How shards are compressed; None for plain tars.
        anywhere: Whether machines that have the source at different paths may make shards of it together.
    """

    listing: Listing
    cuts: npt.NDArray[np.int64]
    shard_bytes: npt.NDArray[np.int64]
    names: Sequence[UnitName]
    compression: ShardCompression | None = None
    anywhere: bool = False
    _digests: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    @property
    def num_shards(self) -> int:
        return len(self.shard_bytes)

    def part(self, shard: int) -> Listing:
        """Return the samples of a shard, copied out of the listing."""
        return self.listing.slice(int(self.cuts[shard]), int(self.cuts[shard + 1]))

    def name(self, shard: int) -> str:
        """Return the name of a shard."""
        return self.names[shard].shard(compressed=self.compression is not None)

    def task(self, shard: int, scratch: ScratchDir) -> ShardTask:
        """Return the task that makes a shard."""
        return ShardTask(scratch, self.name(shard), self.part(shard), int(self.shard_bytes[shard]), self.compression)

    def input_digest(self, shard: int) -> str:
        """Return the digest of all that determines a shard; computed once."""
        if shard not in self._digests:
            name, listing = self.name(shard), self.part(shard)
            self._digests[shard] = input_digest(name, listing, self.compression, anywhere=self.anywhere)
        return self._digests[shard]


@dataclass(frozen=True, slots=True)
class Packed:
    """What a run has left.

    Attributes:
        resumed_shards: Number of shards that an earlier run had already finished.
        missing_shards: Number of shards that other parts have not finished; 0 if the dataset is complete.
        num_bytes: Total length of the shards.
        largest_shard_bytes: Length of the longest one.
    """

    resumed_shards: int
    num_bytes: int
    largest_shard_bytes: int
    missing_shards: int = 0


def plan_shards(listing: Listing, limits: ShardLimits, compression: ShardCompression | None = None) -> PackPlan:
    """Return the plan for a listing, the samples of a split together; reads nothing.

    Compressed shards are cut as plain ones.

    Raises:
        SourceError: A sample does not fit in a shard, and oversized shards are not allowed.
    """
    sizes = sample_bytes(listing)
    cuts = cut_shards(sizes, limits, listing)
    shard_bytes = np.add.reduceat(sizes, cuts[:-1]) + len(END_OF_ARCHIVE) if len(sizes) else np.zeros(0, np.int64)
    return PackPlan(listing, cuts, shard_bytes, unit_names(listing, cuts), compression)


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
    run = PackRun(plan, request, recorded, rejected)
    with Transaction.new_dataset(
        target, "pack", force=request.force, run_digest=run.digest, keeps_run=request.with_table
    ) as transaction:
        if transaction.complete:
            return packed_before(target)
        finished = run.keep_finished(transaction)
        run.make(transaction, [shard for shard in range(plan.num_shards) if shard not in finished], engine)
        transaction.publish(run.files())
        return run.packed(len(finished))


def packed_before(target: Target) -> Packed:
    """Return what is in a target that holds the dataset already."""
    newest = newest_undamaged(target)
    assert newest is not None
    table = ShardTable.whole(newest.manifest, target.read)
    return _packed(table, len(table))


def _packed(infos: Iterable[ShardInfo], resumed_shards: int, missing_shards: int = 0) -> Packed:
    lengths = [info.num_bytes for info in infos]
    return Packed(resumed_shards, sum(lengths), max(lengths, default=0), missing_shards)


class PackRun:
    """One run: makes the shards that are missing, counts bytes, and describes the dataset."""

    def __init__(
        self,
        plan: PackPlan,
        request: PackRequest,
        recorded: Mapping[str, Any],
        rejected: Sequence[tuple[str, str]],
    ) -> None:
        self.plan, self.recorded, self._rejected = plan, recorded, rejected
        self._names = [plan.name(shard) for shard in range(plan.num_shards)]
        self._planned_bytes = dict(zip(self._names, plan.shard_bytes.tolist(), strict=True))
        self._infos: dict[str, ShardInfo] = {}  # of the finished shards
        self._counted = ByteProgress(request.progress, int(plan.shard_bytes.sum()))

    def digest(self) -> str:
        """Return a digest of all that determines the dataset."""
        plan, classes = self.plan, self.plan.listing.classes
        digests = [plan.input_digest(shard) for shard in range(plan.num_shards)]
        values = [digests, dict(self.recorded), classes and list(classes), list(self._rejected)]
        return xxh3_128_hexdigest(json.dumps(values).encode())

    def keep_finished(self, transaction: Transaction) -> set[int]:
        """Add the shards that an earlier run finished from the same input, and delete its other shards."""
        finished: set[int] = set()
        with storage_errors(f"write to {transaction.location!r}"):
            found = transaction.keep_only(self._names)
            for shard, name in enumerate(self._names):
                if name in found:
                    entry = transaction.finished(name, self.plan.input_digest(shard))
                    if entry is None:
                        transaction.drop(name)
                    else:
                        finished.add(shard)
                        self.add(entry.info)
        return finished

    def make(self, transaction: Delivering, shards: Sequence[int], engine: Engine) -> None:
        """Make these shards and deliver them."""
        if (remote := as_remote(engine)) is not None:
            self._make_there(transaction, shards, remote)
            return
        plan = self.plan
        with storage_errors(f"write to {transaction.location!r}"):
            scratch, deliveries = transaction.scratch, transaction.delivery_queue(engine.jobs)
        self._counted.expect(int(plan.shard_bytes[list(shards)].sum()))
        results = engine.map(
            pack_shard,
            (plan.task(shard, scratch) for shard in shards),
            backpressure=deliveries,
            advance=lambda task, num_bytes: self._counted.advance(self._names[shards[task]], num_bytes),
        )
        self._deliver(results, shards, deliveries)

    def _make_there(self, transaction: Delivering, shards: Sequence[int], engine: RemoteEngine) -> None:
        """Have shards made and delivered by workers on other machines; only their journal is kept here."""
        destination = transaction.destination()
        with storage_errors(f"write to {transaction.location!r}"):
            probe_target(engine, transaction)
        tasks = (self.plan.task(shard, NO_SCRATCH) for shard in shards)
        results = engine.map(MakeThere(pack_shard, destination), tasks, advance=lambda _task, _num_bytes: None)
        self._deliver(results, shards, transaction.record_queue())

    def _deliver(self, results: Results[ShardInfo], shards: Sequence[int], queue: DeliveryQueue[ShardInfo]) -> None:
        queue.deliver_all(results, digest_of=lambda task: self.plan.input_digest(shards[task]), delivered=self.add)

    def add(self, info: ShardInfo) -> None:
        """Add a finished shard."""
        self._infos[info.name] = info
        self._counted.finish(info.name, self._planned_bytes[info.name])

    def files(self, infos: Sequence[ShardInfo] | None = None) -> list[tuple[str, Any]]:
        """Return all files but tars and shard indexes, in the order in which to publish them.

        Args:
            infos: The shards; None for those that were added.
        """
        infos = [self._infos[name] for name in self._names] if infos is None else infos
        _, files = encode_dataset(
            infos,
            hash_keys(self.plan.listing.keys),
            classes=self.plan.listing.classes,
            splits=splits_of_shards(infos),
            packed_with=self.recorded,
            rejected=self._rejected,
        )
        return files

    def packed(self, resumed_shards: int) -> Packed:
        """Return what this run has added, of which so many shards were finished before."""
        return _packed(self._infos.values(), resumed_shards, self.plan.num_shards - len(self._infos))

    # One of several parts

    @property
    def num_units(self) -> int:
        """How many shards the parts share."""
        return self.plan.num_shards

    def agreement(self) -> PartPlan:
        """Return what all parts agree on."""
        return PartPlan(
            ListedMembers(self.plan.listing),
            digest=self.digest(),
            packed_with=self.recorded,
            more={"num_shards": self.plan.num_shards},
            is_dataset=self._is_dataset,
        )

    def find(self, transaction: SharedTransaction, unit: int) -> bool:
        """Add a shard that any part has finished; return whether one has."""
        entry = transaction.finished(self._names[unit], self.plan.input_digest(unit))
        if entry is not None:
            self.add(entry.info)
        return entry is not None

    def describe(self, _: SharedTransaction) -> list[tuple[str, Any]]:
        """Return what describes the whole dataset, once all shards are added."""
        return self.files()

    def _is_dataset(self, read: Callable[[str], bytes | None]) -> bool:
        """Return whether a published dataset has the keys, options, classes and lengths of the plan."""
        text = read(MANIFEST_PATH) or b""
        infos = list(ShardTable.whole(parse_manifest(text), read))
        if len(infos) != self.num_units or not all(starmap(self._is_planned, enumerate(infos))):
            return False
        *_, (_, manifest) = self.files(infos)
        return b"".join(manifest) == text

    def _is_planned(self, shard: int, info: ShardInfo) -> bool:
        plan = self.plan
        return (
            info.name == self._names[shard]
            and info.num_samples == int(plan.cuts[shard + 1] - plan.cuts[shard])
            and (plan.compression is not None or info.num_bytes == int(plan.shard_bytes[shard]))
            and dict(info.samples_per_field) == plan.part(shard).samples_per_field()
        )
