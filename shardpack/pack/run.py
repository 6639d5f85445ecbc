"""Pack a planned listing: in this process or in many, with the same bytes either way.

    listing -> plan (cuts) -> tasks -> pack_shard in workers -> key index -> manifest

A run that was killed is continued: shards that it finished are kept if they are made of the same
files (names, sizes and times), and only the others are written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import ShardInfo
from shardpack.format.tar import END_OF_ARCHIVE
from shardpack.pack.options import PackOptions
from shardpack.pack.publish import Output, shard_name
from shardpack.pack.shard import ShardTask, fingerprint, pack_shard
from shardpack.workers import WorkerPool
from shardpack.plan.listing import Listing
from shardpack.plan.packing import ShardLimits, cut_shards, sample_bytes
from shardpack.storage.files import storage_errors


@dataclass(frozen=True, slots=True, eq=False)
class PackPlan:
    """Which samples go into which shard. `shard_bytes` are the lengths of the finished tars."""

    listing: Listing
    cuts: npt.NDArray[np.int64]  # (shards + 1) first sample of each shard
    shard_bytes: npt.NDArray[np.int64]  # (shards)

    @property
    def num_shards(self) -> int:
        return len(self.shard_bytes)

    def task(self, number: int, output: Output) -> ShardTask:
        part = self.listing.slice(int(self.cuts[number]), int(self.cuts[number + 1]))
        name = shard_name(number)
        return ShardTask(output, name, part, int(self.shard_bytes[number]), fingerprint(name, part))


def plan_shards(listing: Listing, limits: ShardLimits) -> PackPlan:
    """Return the plan for a listing; reads nothing."""
    sizes = sample_bytes(listing)
    cuts = cut_shards(sizes, limits, listing)
    shard_bytes = np.add.reduceat(sizes, cuts[:-1]) + len(END_OF_ARCHIVE) if len(sizes) else np.zeros(0, np.int64)
    return PackPlan(listing, cuts, shard_bytes)


def pack_plan(
    plan: PackPlan,
    out: str,
    options: PackOptions,
    *,
    pool: WorkerPool | None = None,
    rejected: Sequence[tuple[str, str]] = (),
) -> int:
    """Write the dataset; return how many shards an earlier run had finished.

    Args:
        pool: Workers to use; without, this process does the work.
        rejected: Samples that were left out; listed in a file beside the shards.

    Raises:
        OutputExistsError: There is a dataset already, and `force` is off.
        SourceError: A file changed or vanished since it was listed.
        StorageError: The disk refused. What is finished stays; the same call continues.
    """
    output = Output(out)
    with storage_errors(f"write to {out!r}"):
        output.prepare(force=options.force)
        output.keep_only([shard_name(number) for number in range(plan.num_shards)])
        run = _Run(plan, output, options)
        shards = run.pack(pool)
        if rejected:
            output.write_rejected(rejected)
        output.complete(shards, run.hashes, classes=options.classes, packed_with=options.recorded)
    return run.resumed


class _Run:
    """One run: which shards are done already, and which are to do."""

    def __init__(self, plan: PackPlan, output: Output, options: PackOptions):
        self._plan, self._output, self._options = plan, output, options
        self._infos: dict[int, ShardInfo] = {}
        self._numbers: list[int] = []  # shard number of each task handed out
        self._bytes_done = 0
        self.resumed = 0
        self.hashes: npt.NDArray[np.uint64]

    def pack(self, pool: WorkerPool | None) -> list[ShardInfo]:
        results: Iterator[tuple[int, ShardInfo]]
        tasks = self._tasks()
        if pool is None:
            results = ((i, pack_shard(task)) for i, task in enumerate(tasks))
        else:
            results = pool.map(pack_shard, tasks)
        listing = self._plan.listing
        # While the workers pack, this process is free for the hashes.
        self.hashes = hash_keys((key.encode() for key in listing.keys), listing.num_samples)
        for i, info in results:
            self._done(self._numbers[i], info)
        return [self._infos[number] for number in range(self._plan.num_shards)]

    def _tasks(self) -> Iterator[ShardTask]:
        for number in range(self._plan.num_shards):
            task = self._plan.task(number, self._output)
            info = self._output.finished_shard(task.name, task.made_of)
            if info is not None:
                self.resumed += 1
                self._done(number, info)
            else:
                self._numbers.append(number)
                yield task

    def _done(self, number: int, info: ShardInfo) -> None:
        self._infos[number] = info
        self._bytes_done += info.num_bytes
        self._options.progress("pack", self._bytes_done, int(self._plan.shard_bytes.sum()))


def recorded_options(**options: Any) -> dict[str, Any]:
    """Return what the manifest keeps of how it was packed: options that differ from None."""
    from shardpack import __version__

    return {"shardpack": __version__, "options": {k: v for k, v in options.items() if v is not None}}
