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

from shardpack.commit.lease import claim
from shardpack.commit.target import DatasetOutput, Workplace, shard_name
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import ShardInfo
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.runtime.engine import HERE, Engine
from shardpack.sources.listing import Listing
from shardpack.storage.atomic import storage_errors
from shardpack.write.pack_shard import ShardTask, fingerprint, pack_shard
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

    def tasks(self, workplace: Workplace) -> Iterator[ShardTask]:
        """Yield what each shard takes, made when asked for: a task holds its part of the listing."""
        for number in range(self.num_shards):
            part = self.listing.slice(int(self.cuts[number]), int(self.cuts[number + 1]))
            name = shard_name(number)
            yield ShardTask(workplace, name, part, int(self.shard_bytes[number]), fingerprint(name, part))


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
    output: DatasetOutput,
    options: PackOptions,
    *,
    engine: Engine = HERE,
    rejected: Sequence[tuple[str, str]] = (),
) -> int:
    """Write the dataset; return how many shards an earlier run had finished.

    Args:
        plan: What goes where.
        output: Where it is written to.
        options: What is to be recorded and reported.
        engine: What runs the tasks: a shard each.
        rejected: Samples that were left out; listed in a file beside the shards.

    Raises:
        OutputExistsError: There is a dataset already and `force` is off, or another packer at work.
        SourceError: A file changed or vanished since it was listed.
        StorageError: The disk refused. What is finished stays; the same call continues.
    """
    run = _Run(plan, output, options, rejected)
    with storage_errors(f"write to {output.location!r}"):
        claimed = claim(run.output, force=options.force, is_same_run=run.is_same)
    with claimed:
        if claimed.complete:
            return plan.num_shards
        run.pack(engine)
        with storage_errors(f"write to {output.location!r}"):
            run.complete()
    return run.resumed


class _Run:
    """One run: which shards are done already, and which are to do."""

    def __init__(
        self, plan: PackPlan, output: DatasetOutput, options: PackOptions, rejected: Sequence[tuple[str, str]]
    ) -> None:
        self._plan, self.output, self._options, self._rejected = plan, output, options, rejected
        self._infos: dict[str, ShardInfo] = {}
        self._made_of: dict[str, str] = {}  # of the shards by name, in order
        self._hashes: npt.NDArray[np.uint64]
        self._total_bytes, self._bytes_done = int(plan.shard_bytes.sum()), 0
        self.resumed = 0

    def is_same(self, mark: str) -> bool:
        """Return whether a run with this mark had the same input and options."""
        return mark == self._mark([task.made_of for task in self._plan.tasks(self.output.workplace)])

    def _mark(self, made_of: list[str]) -> str:
        classes = self._options.classes
        input_ = [made_of, dict(self._options.recorded), classes and list(classes), list(self._rejected)]
        return xxh3_128_hexdigest(json.dumps(input_).encode())

    def pack(self, engine: Engine) -> None:
        """Write all shards that are not finished yet, and drop those that are not of this run."""
        with storage_errors(f"write to {self.output.location!r}"):
            self.output.keep_only([shard_name(number) for number in range(self._plan.num_shards)])
        keys = self._plan.listing.keys
        self._hashes = hash_keys((key.encode() for key in keys), len(keys))
        tasks, delivery = self._tasks(), self.output.delivery(engine.jobs)
        results = engine.map(pack_shard, tasks, backpressure=delivery)
        with closing(results), delivery:  # so that, whatever happens here, no worker writes on
            for _, made in results:
                delivery.submit(made, self._made_of[made.name])
                for info in delivery.arrived():
                    self._done(info)
            for info in delivery.rest():
                self._done(info)

    def _tasks(self) -> Iterator[ShardTask]:
        """Yield the tasks that are not done."""
        for task in self._plan.tasks(self.output.workplace):
            self._made_of[task.name] = task.made_of
            info = self.output.finished_shard(task.name, task.made_of)
            if info is not None:
                self.resumed += 1
                self._done(info)
            else:
                with storage_errors(f"write to {self.output.location!r}"):
                    self.output.drop_shard(task.name)
                yield task

    def _done(self, info: ShardInfo) -> None:
        self._infos[info.name] = info
        self._bytes_done += info.num_bytes
        self._options.progress("pack", self._bytes_done, self._total_bytes)

    def complete(self) -> None:
        """Write what belongs to the whole dataset."""
        _, files = encode_dataset(
            [self._infos[shard_name(number)] for number in range(self._plan.num_shards)],
            self._hashes,
            classes=self._options.classes,
            packed_with=self._options.recorded,
            rejected=self._rejected,
        )
        self.output.publish(files, mark=self._mark(list(self._made_of.values())))
