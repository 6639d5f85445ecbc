"""Pack an iterable, whose samples are not known in advance, with a `ShardWriter`.

    iterable -> ShardWriter                                           without steps
    iterable -> batches -> steps, in workers -> in order -> ShardWriter

Only this process can iterate, and it writes, in the order of the iterable. What workers do is to transform and encode.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import numpy as np

from shardpack.errors import OptionError, SourceError
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.processes import start_workers
from shardpack.runtime.words import a_type
from shardpack.write.apply_steps import Application, Made, Outcome, raise_failure
from shardpack.write.chunk_input import BATCH_BYTES, BATCH_SAMPLES
from shardpack.write.pack_chunk import applier_of, close_applier
from shardpack.write.place import Incoming, Place
from shardpack.write.report import PackReport
from shardpack.write.request import FOR_COLUMNS, FOR_FOLDERS, FOR_ROWS, PackRequest
from shardpack.write.shard_writer import ShardWriter
from shardpack.write.transform import Pipeline

PROGRESS_SAMPLES = 256  # between two calls of `progress`

_Pair = tuple[str, Mapping[str, Any]]


def pack_samples(samples: Iterable[Any], place: Place, request: PackRequest) -> PackReport:
    """Write the dataset of an iterable of (key, fields) or `Sample`s, in its order.

    Raises:
        OptionError: An option needs a list of all samples in advance, or an item is not a sample.
        SourceError: A sample fails, and `on_error` is "raise".
    """
    began = time.perf_counter()
    kind = "an iterable, which cannot be listed in advance"
    request.refuse_but_for(kind, dry_run=False, shuffle_seed=None, check_images=None, check_labels=False, engine=None)
    request.refuse_but_for(kind, part=None, split=None, **FOR_FOLDERS, **FOR_ROWS, **FOR_COLUMNS)
    admitted = place.admit_rows(request.classes, ())
    writer = ShardWriter(
        place.target(work_dir=request.work_dir),
        max_shard_bytes=request.max_shard_bytes,
        max_shard_samples=request.max_shard_samples,
        allow_oversized=request.allow_oversized,
        classes=admitted.classes,
        rename_keys=request.rename_keys,
        force=request.force,
        compress=request.compress,
        frame_bytes=request.frame_bytes,
    )
    with writer:
        write = _write_batches if _needs_batches(request) else _write_each
        totals = write(_pairs(samples), writer, request, admitted)
        request.progress("pack", writer.payload_bytes, 0)
    manifest = writer.manifest
    assert manifest is not None
    return PackReport(
        out=writer.location,
        num_samples=manifest.num_samples,
        num_shards=manifest.num_shards,
        num_bytes=manifest.num_bytes,
        tar_bytes=writer.tar_bytes,
        payload_bytes=writer.payload_bytes,
        largest_shard_bytes=writer.largest_shard_bytes,
        samples_per_field=manifest.samples_per_field,
        classes=admitted.classes,
        seconds=time.perf_counter() - began,
        rejected=tuple(writer.rejected),
        **totals,
    )


def _needs_batches(request: PackRequest) -> bool:
    steps = request.steps
    return (
        steps.transform is not None
        or steps.images is not None
        or steps.select is not None
        or steps.sample_timeout is not None
        or request.jobs not in (None, 1)
        or request.threads_per_job is not None
        or request.on_error == "skip"
    )


def _write_each(
    samples: Iterator[_Pair], writer: ShardWriter, request: PackRequest, admitted: Incoming
) -> dict[str, Any]:
    """Write samples as they come; return totals for the report."""
    number = 0
    before = Pipeline(admitted.steps)
    for number, (key, fields) in enumerate(samples, start=1):
        try:
            made = before(key, fields, writer.counts)
        except (OptionError, SourceError) as error:
            raise type(error)(str(error.args[0]), key=key) from error
        for new_key, new_fields in made:
            writer.write(new_key, new_fields, split=admitted.split)
        if not number % PROGRESS_SAMPLES:
            request.progress("pack", writer.payload_bytes, 0)
    return {"source_samples": number, "source_bytes": writer.payload_bytes, "kept": number}


def _write_batches(
    samples: Iterator[_Pair], writer: ShardWriter, request: PackRequest, admitted: Incoming
) -> dict[str, Any]:
    """Write what workers, or the guarded process of this one, make of samples; return totals for the report."""
    steps, on_error = request.steps, request.on_error if request.on_error == "skip" else None
    application = steps.application(rename_keys=request.rename_keys, before=admitted.steps)
    writer.recorded |= {**steps.recorded(), "on_error": on_error, "versions": steps.recorded_versions()}
    is_work = steps.transform is not None or steps.images is not None
    jobs = request.jobs or (usable_cores() if is_work else 1)
    waiting: deque[list[_Pair]] = deque()  # batches that workers have
    totals = Counter[str]()

    def tasks() -> Iterator[list[_Pair]]:
        for batch in _batches(samples):
            waiting.append(batch)
            yield batch

    with ExitStack() as stack:
        stack.callback(close_applier)  # of this process, if the engine is this process
        engine = stack.enter_context(start_workers(jobs, threads_per_job=request.threads_per_job))
        results = stack.enter_context(closing(engine.map(partial(_transform, application), tasks(), in_order=True)))
        for _, outcomes in results:
            for (key, fields), outcome in zip(waiting.popleft(), outcomes, strict=True):
                totals["source_samples"] += 1
                totals["source_bytes"] += sum(map(_size, fields.values()))
                failure = writer.add_outcome(outcome, split=admitted.split) if isinstance(outcome, Made) else outcome
                if failure is not None:
                    if request.on_error == "raise":
                        raise_failure(failure, key=key)
                    writer.rejected.append((key, failure.reason))
                totals["dropped"] += isinstance(outcome, Made) and not outcome.samples
            request.progress("pack", writer.payload_bytes, 0)
    totals["kept"] = totals["source_samples"] - totals["dropped"] - len(writer.rejected)
    return {**totals, "counts": dict(sorted(writer.counts.items()))}


def _transform(application: Application, samples: list[_Pair]) -> list[Outcome]:
    """Return what becomes of each sample: the task of a worker."""
    return list(applier_of(application).outcomes(samples))


def _batches(samples: Iterator[_Pair]) -> Iterator[list[_Pair]]:
    """Yield lists of samples, each bounded by number and size; their values are no longer the iterable's."""
    batch: list[_Pair] = []
    num_bytes = 0
    for key, fields in samples:
        batch.append((key, {name: _own(value) for name, value in fields.items()}))
        num_bytes += sum(map(_size, fields.values()))
        if len(batch) == BATCH_SAMPLES or num_bytes >= BATCH_BYTES:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _own(value: Any) -> Any:
    """Return a value that the iterable cannot change: it may fill the same memory for the next sample."""
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (bytes, bytearray)) else int(getattr(value, "nbytes", 0))


def _pairs(samples: Iterable[Any]) -> Iterator[_Pair]:
    """Yield (key, fields) of each item."""
    for number, sample in enumerate(samples):
        if isinstance(sample, tuple) and len(sample) == 2:
            yield sample
        elif isinstance(sample, Mapping) and isinstance(key := getattr(sample, "key", None), str):
            yield key, sample
        else:
            raise OptionError(f"item {number} of the iterable is {a_type(sample)}, expected (key, fields) or a sample")
