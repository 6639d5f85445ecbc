"""Pack a planned listing: in this process or in many, with the same bytes either way.

    listing -> plan (cuts) -> tasks -> pack_shard in workers -> key index -> manifest

A run that was killed is continued: shards that it finished are kept if they are made of the same
files (names, sizes and times), and only the others are written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_128_hexdigest

from shardpack.commit.scratch import ScratchDir
from shardpack.commit.target import Target
from shardpack.commit.transaction import Transaction
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.naming import shard_name
from shardpack.format.shard_info import ShardInfo
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.sources.listing import Listing
from shardpack.storage.atomic import storage_errors
from shardpack.write.pack_shard import ShardTask, input_digest, pack_shard
from shardpack.write.report import PackOptions
from shardpack.write.sharding import ShardLimits, cut_shards, sample_bytes


@dataclass(frozen=True, slots=True, eq=False)
class PackPlan:
    """Which samples go into which shard. `shard_bytes` are the lengths of the finished tars."""

    listing: Listing
    cuts: npt.NDArray[np.int64]  # (shards + 1) first sample of each shard
    shard_bytes: npt.NDArray[np.int64]  # (shards)

    @property
    def num_shards(self) -> int:
        return len(self.shard_bytes)

    def parts(self) -> Iterator[tuple[str, Listing, str]]:
        """Yield (name, what it takes, digest of that) for each shard, made when asked for."""
        for number in range(self.num_shards):
            part = self.listing.slice(int(self.cuts[number]), int(self.cuts[number + 1]))
            name = shard_name(number)
            yield name, part, input_digest(name, part)

    def tasks(self, scratch: ScratchDir) -> Iterator[ShardTask]:
        """Yield what makes each shard."""
        for (name, part, digest), num_bytes in zip(self.parts(), self.shard_bytes.tolist(), strict=True):
            yield ShardTask(scratch, name, part, num_bytes, digest)


def plan_shards(listing: Listing, limits: ShardLimits) -> PackPlan:
    """Return the plan for a listing; reads nothing.

    Raises:
        SourceError: A sample is larger than the cap, and that is not allowed.
    """
    sizes = sample_bytes(listing)
    cuts = cut_shards(sizes, limits, listing)
    shard_bytes = np.add.reduceat(sizes, cuts[:-1]) + len(END_OF_ARCHIVE) if len(sizes) else np.zeros(0, np.int64)
    return PackPlan(listing, cuts, shard_bytes)


def pack_plan(
    plan: PackPlan,
    target: Target,
    options: PackOptions,
    *,
    engine: Engine = IN_PROCESS,
    rejected: Sequence[tuple[str, str]] = (),
) -> int:
    """Write the dataset; return how many shards an earlier run had finished.

    Args:
        plan: What goes where.
        target: Where it is written to.
        options: What is to be recorded and reported.
        engine: What runs the tasks: a shard each.
        rejected: Samples that were left out; listed in a file beside the shards.

    Raises:
        OutputExistsError: There is a dataset already and `force` is off, or another packer at work.
        SourceError: A file changed or vanished since it was listed.
        StorageError: The disk refused. What is finished stays; the same call continues.
    """
    run = _Run(plan, options, rejected)
    with Transaction.new_dataset(target, "pack", force=options.force, run_digest=run.digest) as transaction:
        if transaction.complete:
            return plan.num_shards
        run.pack(transaction, engine)
    return run.resumed


class _Run:
    """One run: which shards are done already, and which are to do."""

    def __init__(self, plan: PackPlan, options: PackOptions, rejected: Sequence[tuple[str, str]]) -> None:
        self._plan, self._options, self._rejected = plan, options, rejected
        self._infos: dict[str, ShardInfo] = {}
        self._digests: dict[str, str] = {}  # of what each shard is made of, in order
        self._begun: list[str] = []  # names of the shards by number of their tasks
        self._written: dict[str, int] = {}  # bytes of those that are not finished
        self._total_bytes, self._bytes_done = int(plan.shard_bytes.sum()), 0
        self.resumed = 0

    def digest(self) -> str:
        """Return what tells this run from one with other input or options."""
        if len(self._digests) < self._plan.num_shards:
            self._digests = {name: digest for name, _, digest in self._plan.parts()}
        classes = self._options.classes
        input_ = [
            list(self._digests.values()),
            dict(self._options.recorded),
            classes and list(classes),
            list(self._rejected),
        ]
        return xxh3_128_hexdigest(json.dumps(input_).encode())

    def pack(self, transaction: Transaction, engine: Engine) -> None:
        """Write all shards that are not finished yet, drop those that are not of this run, and publish."""
        with storage_errors(f"write to {transaction.location!r}"):
            transaction.keep_only([shard_name(number) for number in range(self._plan.num_shards)])
            tasks, deliveries = self._tasks(transaction, transaction.scratch), transaction.delivery_queue(engine.jobs)
        keys = self._plan.listing.keys
        hashes = hash_keys((key.encode() for key in keys), len(keys))
        results = engine.map(pack_shard, tasks, backpressure=deliveries, advance=self._advance)
        with closing(results), deliveries:  # so that, whatever happens here, no worker writes on
            for _, made in results:
                deliveries.submit(made, self._digests[made.name])
                for info in deliveries.poll():
                    self._done(info)
            for info in deliveries.drain():
                self._done(info)
        _, files = encode_dataset(
            [self._infos[shard_name(number)] for number in range(self._plan.num_shards)],
            hashes,
            classes=self._options.classes,
            packed_with=self._options.recorded,
            rejected=self._rejected,
        )
        transaction.publish(files)

    def _tasks(self, transaction: Transaction, scratch: ScratchDir) -> Iterator[ShardTask]:
        """Yield the tasks that are not done."""
        for task in self._plan.tasks(scratch):
            self._digests[task.name] = task.input_digest
            finished = transaction.finished(task.name, task.input_digest)
            if finished is not None:
                self.resumed += 1
                self._done(finished.info)
            else:
                with storage_errors(f"write to {transaction.location!r}"):
                    transaction.drop(task.name)
                self._begun.append(task.name)
                yield task

    def _advance(self, number: int, num_bytes: int) -> None:
        """Count what is written of a shard, before it is finished."""
        name = self._begun[number]
        self._written[name] = self._written.get(name, 0) + num_bytes
        self._progress(num_bytes)

    def _done(self, info: ShardInfo) -> None:
        self._infos[info.name] = info
        self._progress(info.num_bytes - self._written.pop(info.name, 0))

    def _progress(self, num_bytes: int) -> None:
        self._bytes_done += num_bytes
        self._options.progress("pack", self._bytes_done, self._total_bytes)
