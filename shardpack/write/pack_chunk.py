"""Make the shards of one chunk: the task of a worker, wherever it runs.

    part --a batch--> samples --steps--> outcomes --> ShardSeries --> shard-000012-00.tar, perhaps -01, ...

Memory: a batch before and after the steps, and what `ShardInProgress` needs for the shard that is being filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from shardpack.commit.scratch import ScratchDir
from shardpack.errors import FormatError, SourceError
from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.progress import Advance, no_advance
from shardpack.storage.atomic import storage_errors
from shardpack.write.apply_steps import Application, Applier, Failure, Made, Outcome, failure_of, raise_failure
from shardpack.write.chunk_input import Batch, ChunkPart, SampleName
from shardpack.write.chunk_plan import ChunkRecipe, Growth
from shardpack.write.sample_shape import shape_of
from shardpack.write.shard_assembler import Buffer
from shardpack.write.shard_in_progress import ShardInProgress
from shardpack.write.shard_series import Prepared, ShardSeries
from shardpack.write.sharding import UnitName
from shardpack.write.transform import Counts, Fields


@dataclass(frozen=True, slots=True)
class ChunkTask:
    """What a worker needs to make the shards of a chunk, besides the recipe, which is that of all."""

    scratch: ScratchDir
    chunk: int
    name: UnitName  # what its shards are called
    part: ChunkPart
    parallel: int = 1  # samples that are transformed at once

    @property
    def title(self) -> str:
        """What is packed."""
        return self.part.title


@dataclass(frozen=True, slots=True)
class Tally:
    """What happened to samples. Two of them add up; as JSON they are kept in the journal.

    Attributes:
        samples, source_bytes: How many there were, and the length of their payloads.
        dropped: How many of them the steps dropped.
        payload_bytes, tar_bytes: Length of the payloads that were written, and of their tars before compression.
        counts: What the steps counted.
        rejected: (name, reason) of each sample that was left out because it failed.
    """

    samples: int = 0
    source_bytes: int = 0
    dropped: int = 0
    payload_bytes: int = 0
    tar_bytes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    rejected: tuple[tuple[str, str], ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.samples + other.samples,
            self.source_bytes + other.source_bytes,
            self.dropped + other.dropped,
            self.payload_bytes + other.payload_bytes,
            self.tar_bytes + other.tar_bytes,
            dict(sorted((Counter(self.counts) + Counter(other.counts)).items())),
            self.rejected + other.rejected,
        )

    def record(self) -> dict[str, Any]:
        """Return it as JSON, for `of_record`."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Tally:
        """Return the tally that `record` returned.

        Raises:
            KeyError, TypeError, ValueError: It is damaged.
        """
        rejected = tuple((str(name), str(reason)) for name, reason in record["rejected"])
        counts = {str(name): int(count) for name, count in record["counts"].items()}
        numbers = ("samples", "source_bytes", "dropped", "payload_bytes", "tar_bytes")
        return cls(**{name: int(record[name]) for name in numbers}, counts=counts, rejected=rejected)


@dataclass(frozen=True, slots=True)
class MadeChunk:
    """The finished shards of a chunk, in order, and what happened to its samples."""

    chunk: int
    shards: tuple[ShardInfo, ...]
    tally: Tally


_buffer = Buffer()  # one per process: a worker makes its shards one after another
_applier: list[Applier] = []  # at most one; kept, since a guarded one has a process that takes long to start


def pack_chunk(recipe: ChunkRecipe, task: ChunkTask, advance: Advance = no_advance) -> MadeChunk:
    """Write the shards of one chunk with their indexes, all of them or none.

    Calls `advance` with the length of the source's payloads that are done.

    Raises:
        SourceError: A sample fails, and `on_error` is "raise"; or a file has changed since it was listed.
        OptionError, MissingDependencyError: A step cannot go on.
        DuplicateKeyError: Two samples of a shard have one key.
        StorageError: The disk refused.
        OutputExistsError: Another packer has taken over the folder.
    """
    with storage_errors(f"write chunk {task.chunk} to {task.scratch.path!r}"), task.scratch.share():
        packing = _Packing(recipe, task)
        try:
            for batch in task.part.batches():
                packing.batch(batch)
                advance(batch.num_bytes)
            return packing.finish()
        except BaseException:
            packing.discard()
            raise


class _Writable(NamedTuple):
    samples: list[Prepared]
    counts: Counts


class _Packing:
    def __init__(self, recipe: ChunkRecipe, task: ChunkTask) -> None:
        self._task, self._recipe = task, recipe
        self._applier = applier_of(recipe.application, parallel=task.parallel)
        self._shards: list[ShardInfo] = []
        self._counts: Counter[str] = Counter()
        self._rejected: list[tuple[str, str]] = []
        self._samples = self._source_bytes = self._dropped = self._payload_bytes = self._tar_bytes = 0
        self._series = ShardSeries(
            recipe.limits,
            buffer_bytes=_buffer.num_bytes,
            start=self._start_shard,
            flush=ShardInProgress.flush,
            finish=self._finish_shard,
        )

    def _start_shard(self) -> ShardInProgress:
        compression = self._recipe.compression
        name = self._task.name.shard(len(self._shards), compressed=compression is not None)
        return ShardInProgress(name, self._task.scratch.new_file(name), _buffer, compression=compression)

    def _finish_shard(self, shard: ShardInProgress) -> None:
        index = shard.finish()
        self._payload_bytes += shard.payload_bytes
        self._tar_bytes += index.plain_bytes
        self._shards.append(self._task.scratch.finish_shard(shard.name, shard.file, index))

    def batch(self, batch: Batch) -> None:
        """Transform and write some samples."""
        self._samples += len(batch.samples)
        self._source_bytes += batch.num_bytes
        self._counts.update(batch.counts)
        for number, outcome in outcomes(self._applier, batch):
            prepared = self._prepare(outcome) if isinstance(outcome, Made) else outcome
            if isinstance(prepared, Failure):
                self._fail(batch.name(number), prepared)
                continue
            for made in prepared.samples:
                self._series.add(made)
            self._dropped += not prepared.samples
            self._counts.update(prepared.counts)

    def _prepare(self, made: Made) -> _Writable | Failure:
        try:
            return _Writable([self._series.prepare(key, fields) for key, fields in made.samples], made.counts)
        except (FormatError, SourceError) as error:
            return failure_of(error)

    def _fail(self, name: SampleName, failure: Failure) -> None:
        if self._recipe.on_error == "raise":
            raise_failure(failure, key=name.key, path=name.path)
        self._rejected.append((name.name, failure.reason))

    def finish(self) -> MadeChunk:
        """Finish the last shard; return what was made."""
        self._series.finish()
        tally = Tally(
            self._samples,
            self._source_bytes,
            self._dropped,
            self._payload_bytes,
            self._tar_bytes,
            dict(sorted(self._counts.items())),
            tuple(self._rejected),
        )
        return MadeChunk(self._task.chunk, tuple(self._shards), tally)

    def discard(self) -> None:
        """Delete what was made."""
        self._series.discard()
        self._task.scratch.delete([name for info in self._shards for name in (info.name, info.index_path)])


def outcomes(applier: Applier, batch: Batch) -> Iterator[tuple[int, Outcome]]:
    """Yield (number, outcome) of each sample of a batch, in order. Raises as `apply_steps`."""
    good = [sample for sample in batch.samples if not isinstance(sample, Failure)]
    made = applier.outcomes(good)
    for number, sample in enumerate(batch.samples):
        yield number, sample if isinstance(sample, Failure) else next(made)


def measure_growth(recipe: ChunkRecipe, part: ChunkPart) -> Growth:
    """Return what samples become; writes nothing. Raises as `pack_chunk`."""
    growth = Growth()
    applier = applier_of(recipe.application)
    for batch in part.batches():
        for number, outcome in outcomes(applier, batch):
            if isinstance(outcome, Failure) and recipe.on_error == "raise":
                name = batch.name(number)
                raise_failure(outcome, key=name.key, path=name.path)
            lengths = [_tar_bytes(*made) for made in outcome.samples] if isinstance(outcome, Made) else []
            growth += Growth(1, batch.planned_bytes(number), len(lengths), sum(lengths))
    return growth


def _tar_bytes(key: str, fields: Fields) -> int:
    try:
        shape = shape_of(tuple(fields), key=key)
    except FormatError:
        return 0  # a failure, when it is packed
    return shape.tar_bytes(key, shape.payloads(fields))


def applier_of(application: Application, *, parallel: int = 1) -> Applier:
    """Return what transforms samples in this process; the last one is kept, for the next chunk."""
    if not _applier or (_applier[0].application, _applier[0].parallel) != (application, parallel):
        close_applier()
        _applier.append(Applier(application, parallel=parallel))
    return _applier[0]


def close_applier() -> None:
    """End the process that guards samples, if this process has one."""
    while _applier:
        _applier.pop().close()
