"""Pack an iterable, whose samples are not known in advance: one sample at a time, with a `ShardWriter`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shardpack.errors import OptionError
from shardpack.storage.open import Writable, as_writable, refuse_same_store
from shardpack.write.request import PackReport, PackRequest
from shardpack.write.shard_writer import ShardWriter

PROGRESS_SAMPLES = 256  # between two calls of `progress`


def pack_samples(samples: Iterable[Any], out: Writable, request: PackRequest) -> PackReport:
    """Write the dataset of an iterable of (key, fields) or `Sample`s, in its order.

    Raises:
        OptionError: An option needs a list of all samples in advance, or an item is not a sample.
    """
    began = time.perf_counter()
    if request.jobs not in (None, 1):
        raise OptionError(
            "jobs is not for an iterable, which only this process can iterate; leave it out, or pack a folder"
        )
    kind = "an iterable, which cannot be listed in advance"
    request.refuse_but_for(kind, dry_run=False, shuffle_seed=None, check_images=None, on_error="raise")
    request.refuse_but_for(kind, layout="auto", annotations=None, threads_per_job=None, part=None, engine=None)
    request.refuse_but_for(kind, resize=None, encode=None)
    if stores := getattr(samples, "stores", ()):  # of a stream
        refuse_same_store(stores, as_writable(out, request.storage_options))
    writer = ShardWriter(
        out,
        max_shard_bytes=request.max_shard_bytes,
        max_shard_samples=request.max_shard_samples,
        allow_oversized=request.allow_oversized,
        classes=request.classes,
        rename_keys=request.rename_keys,
        force=request.force,
        storage_options=request.storage_options,
        work_dir=request.work_dir,
        compress=request.compress,
        frame_bytes=request.frame_bytes,
    )
    with writer:
        for number, (key, fields) in enumerate(_pairs(samples), start=1):
            writer.write(key, fields)
            if not number % PROGRESS_SAMPLES:
                request.progress("pack", writer.payload_bytes, 0)
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
        classes=request.classes,
        seconds=time.perf_counter() - began,
    )


def _pairs(samples: Iterable[Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (key, fields) of each item."""
    for number, sample in enumerate(samples):
        if isinstance(sample, tuple) and len(sample) == 2:
            yield sample
        elif isinstance(sample, Mapping) and isinstance(key := getattr(sample, "key", None), str):
            yield key, sample
        else:
            raise OptionError(
                f"item {number} of the iterable is a {type(sample).__name__}, expected (key, fields) or a sample"
            )
