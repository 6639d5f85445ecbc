"""Compare orders of one dataset: what each reads, holds and mixes, beside a shuffle buffer over shards."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np

from shardpack.inspect.class_mixing import class_entropies, neighbour_distance, stretches
from shardpack.inspect.order_stats import MEASURED_SAMPLES, OrderStats, epoch_items, order_stats
from shardpack.order.options import SHUFFLES
from shardpack.runtime.progress import Progress, no_progress
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.stream import Stream

Item = TypeVar("Item")

COMPARED_WORLD_SIZES = (1, 8, 64)
BUFFER_SAMPLES, BUFFER_START = 1000, 100  # defaults of `shuffle` in webdataset 1.0
SIMULATED_SAMPLES = 4 * MEASURED_SAMPLES  # of the buffer's epoch, from its start on


@dataclass(frozen=True, slots=True)
class ComparedOrder:
    """What one rank's epoch costs in an order, and how well it mixes.

    Attributes:
        order: "none", "shards", "blocks", "global", or "shuffle buffer": webdataset's shuffle of the shards, and
            of the samples in a buffer of 1,000.
        requests: Ranges that this rank reads; for the buffer, whole shards.
        first_sample_bytes: Bytes that are read before the first sample is handed out; of a local dataset at most.
        memory_bytes: Memory that the iterator needs for payloads and for the order.
        neighbour_distance: Median distance in stored samples between neighbours of the epoch, relative to that
            of a true shuffle.
        class_mixing: Class entropy of batches, relative to that of a true shuffle; None where there are no classes.
    """

    order: str
    requests: int
    first_sample_bytes: int
    memory_bytes: int
    neighbour_distance: float
    class_mixing: float | None


def compare_orders(
    make_stream: Callable[..., Stream], *, class_from: str = "key", progress: Progress = no_progress
) -> list[ComparedOrder]:
    """Return the figures of all four orders and of a shuffle buffer.

    Costs what `order_stats` costs, five times.

    Args:
        make_stream: Returns the stream of a rank for a value of `shuffle`.
        class_from, progress: As for `order_stats`.

    Raises:
        OptionError, FieldNotFoundError, DecodeError: As `order_stats`.
    """
    compared = []
    for shuffle in SHUFFLES:
        stream = make_stream(shuffle=shuffle)
        stats = order_stats(stream, class_from=class_from, progress=progress)
        compared.append(
            ComparedOrder(
                order=shuffle,
                requests=stats.requests,
                first_sample_bytes=stats.first_sample_bytes,
                memory_bytes=stats.memory_bytes,
                neighbour_distance=stats.neighbour_distance,
                class_mixing=stats.class_mixing,
            )
        )
    return [*compared, _shuffle_buffer(stream, stats, class_from, progress)]


def compare_defaults(
    make_stream: Callable[..., Stream], *, class_from: str = "key", progress: Progress = no_progress
) -> list[OrderStats]:
    """Return the figures of the default partitions and of one partition per rank, for 1, 8 and 64 ranks.

    Args:
        make_stream: Returns the stream of rank 0 for a `world_size` and for `partitions`; None means the default.
        class_from, progress: As for `order_stats`.
    """
    figures = []
    for world_size in COMPARED_WORLD_SIZES:
        for partitions in (None, world_size):
            stream = make_stream(world_size=world_size, partitions=partitions)
            figures.append(order_stats(stream, class_from=class_from, progress=progress))
    return figures


def buffer_shuffled(
    items: Iterable[Item], seed: int, *, size: int = BUFFER_SAMPLES, start: int = BUFFER_START
) -> Iterator[Item]:
    """Yield the items in the order of webdataset's `shuffle(size, initial=start, seed=seed)`.

    Until the buffer is full, two items come in for each one that goes out at random; then one for one.
    """
    chance, source = random.Random(seed), iter(items)  # noqa: S311
    buffer: list[Item] = []
    for item in source:
        buffer.append(item)
        if len(buffer) < size:
            buffer.extend(item for item in (next(source, None),) if item is not None)
        if len(buffer) >= min(start, size):
            yield _take(buffer, chance)
    while buffer:
        yield _take(buffer, chance)


def _take(buffer: list[Item], chance: random.Random) -> Item:
    at = chance.randint(0, len(buffer) - 1)
    buffer[at], item = buffer[-1], buffer[at]
    buffer.pop()
    return item


def _shuffle_buffer(stream: Stream, stats: OrderStats, class_from: str, progress: Progress) -> ComparedOrder:
    """Return the figures of a shuffle buffer, measured against a stream with shuffle="global"."""
    assert isinstance(stream.epochs, DatasetEpochs)
    stream_input = stream.epochs.stream_input
    segments = stream_input.view.segments()
    first = np.cumsum(segments.count) - segments.count
    shuffled_segments = np.random.default_rng(stats.seed).permutation(len(first)).tolist()
    samples = chain.from_iterable(range(first[one], first[one] + segments.count[one]) for one in shuffled_segments)
    count = min(stats.rank_samples, SIMULATED_SAMPLES)
    simulated = np.fromiter(buffer_shuffled(samples, stats.seed), np.int64, count)
    size = stats.measured_batch_size
    items = simulated[stretches(count, size, stats.measured_batches)]
    true_shuffle = epoch_items(stream, stretches(stats.rank_samples, size, len(items) // size))
    entropies, _ = class_entropies(
        [stream_input.view.at(part) for part in (items, true_shuffle)], size, class_from, stream_input.cache, progress
    )
    mean_bytes = int(segments.num_bytes.sum()) // stats.num_samples
    return ComparedOrder(
        order="shuffle buffer",
        requests=-(-len(first) // stats.world_size),
        first_sample_bytes=min(BUFFER_START, stats.rank_samples) * mean_bytes,
        memory_bytes=min(BUFFER_SAMPLES, stats.rank_samples) * mean_bytes,
        neighbour_distance=neighbour_distance(items, size, stats.num_samples),
        class_mixing=entropies[0] / entropies[1] if entropies and entropies[1] else None,
    )
