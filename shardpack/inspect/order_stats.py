"""Compute in advance what an epoch costs (samples, requests, memory), and measure how well it mixes.

    rank slice, order --a sample of batches--> positions --keys or json--> classes --> entropy
    the same slots in a global shuffle       --> positions --> classes --> entropy       ratio of both

Reads indexes, and payloads only if classes come from the json field.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from shardpack.errors import OptionError
from shardpack.inspect.class_mixing import class_entropies, neighbour_distance, stretches
from shardpack.order.epoch import EpochOrder
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.stream.epochs import DatasetEpochs, EpochReader
from shardpack.stream.limits import CHUNK_BYTES, MAX_PART_BYTES
from shardpack.stream.stream import Stream

BATCH = 256  # samples per measured batch, if the stream has no batch size
MEASURED_SAMPLES = 1 << 14  # about as many in all measured batches
MAX_BATCHES = 1 << 10
PLOTTED, NEIGHBOURS = 20_000, 10  # samples drawn, and samples per stretch of neighbours
POORLY_MIXED = 0.95
THREADS = 16  # read ahead from a remote store
ORDER_BYTES = 72  # of memory per block: four numbers for the block, five for its window


@dataclass(frozen=True, slots=True)
class OrderStats:
    """The costs of one rank's epoch, and how well it mixes.

    Attributes:
        num_samples: Samples in the dataset or view.
        shuffle, seed, epoch, tail, rank, world_size, partitions, batch_size: The options of the order.
        window_blocks: How many blocks are shuffled together, over all partitions and ranks.
        rank_samples, steps: How many samples and steps this rank gets.
        rank_bytes: Bytes of tars that this rank reads, estimated from its share of the samples.
        blocks: How many blocks (or shards, or runs of stored order) this rank reads; 0 for "global".
        block_bytes: Mean size of a block.
        requests: How many ranges this rank reads; one per sample for "global".
        first_sample_bytes: Bytes that are read before the first sample is handed out; of a local dataset at most.
        window_bytes: Bytes shuffled together over all partitions of the rank, in memory or in the page cache.
        read_ahead_bytes: Upper limit of bytes read but not used yet: in the page cache, or for a remote dataset
            in memory.
        memory_bytes: Memory that the iterator needs, for payloads and for the order.
        neighbour_distance: Median distance in stored samples between neighbours of the epoch, relative to that
            of a true shuffle.
        measured_batches, measured_batch_size: The sample of batches from which the entropies were measured.
        num_classes: How many classes these batches have; 0 if samples have no class.
        class_entropy: Mean entropy of a batch, from 0 (one class) to 1 (all classes alike); None without classes.
        class_entropy_stored, class_entropy_shuffled: The same in stored order, and in a true shuffle.
        class_mixing: class_entropy / class_entropy_shuffled; None where that has no meaning.
    """

    num_samples: int
    shuffle: str
    seed: int
    epoch: int
    tail: str
    rank: int
    world_size: int
    partitions: int
    batch_size: int
    window_blocks: int
    rank_samples: int
    steps: int
    rank_bytes: int
    blocks: int
    block_bytes: int
    requests: int
    first_sample_bytes: int
    window_bytes: int
    read_ahead_bytes: int
    memory_bytes: int
    neighbour_distance: float
    measured_batches: int
    measured_batch_size: int
    num_classes: int
    class_entropy: float | None
    class_entropy_stored: float | None
    class_entropy_shuffled: float | None
    class_mixing: float | None

    @property
    def poorly_mixed(self) -> bool:
        """Whether batches have clearly fewer classes than in a true shuffle."""
        return self.class_mixing is not None and self.class_mixing < POORLY_MIXED


def order_stats(stream: Stream, *, class_from: str = "key", progress: Progress = no_progress) -> OrderStats:
    """Return what the stream's epoch costs this rank, and how well it mixes.

    Reads the indexes of the shards that hold the measured samples: at most three times 16,384 samples.

    Args:
        stream: Stream of `Dataset.stream`, set to the epoch to look at.
        class_from: "key" takes the first folder of the key as the class; "json" takes the `label` of the
            json field, or the whole field if it is not an object.
        progress: Called as progress("measure", samples done, total samples).

    Raises:
        OptionError: The rank has no samples, or the stream is a mix.
        FieldNotFoundError: `class_from` is "json" and the dataset has no json field.
        DecodeError: A json field is not valid JSON.
    """
    epoch = _EpochCosts(stream)
    ours, parts, shuffle = stream.rank_slice, stream.rank_slice.partitioning, stream.shuffle
    size = min(len(ours), ours.batch_size if stream.has_batch_size else BATCH)
    slots = ours.locate(stretches(len(ours), size, min(max(MEASURED_SAMPLES // size, 16), MAX_BATCHES)))
    true_shuffle = EpochOrder(epoch.segments, replace(shuffle, mode="global"), parts, stream.epoch)
    items = epoch.order.items(*slots)
    stored = stretches(parts.num_items, min(size, parts.num_items), len(items) // size)
    entropies, num_classes = class_entropies(
        [epoch.view.at(part) for part in (items, stored, true_shuffle.items(*slots))],
        size,
        class_from,
        epoch.stream_input.cache,
        progress,
    )
    mixing = entropies[0] / entropies[2] if entropies and entropies[2] else None
    return OrderStats(
        num_samples=parts.num_items,
        shuffle=shuffle.mode,
        **(share_of_rank(stream) | epoch.costs()),
        neighbour_distance=neighbour_distance(items, size, parts.num_items),
        measured_batches=len(items) // size,
        measured_batch_size=size,
        num_classes=num_classes,
        class_entropy=entropies[0] if entropies else None,
        class_entropy_stored=entropies[1] if entropies else None,
        class_entropy_shuffled=entropies[2] if entropies else None,
        class_mixing=mixing,
    )


def share_of_rank(stream: Stream) -> dict[str, Any]:
    """Return the options of any order, and what this rank gets of it, by the names that statistics give them."""
    ours, parts = stream.rank_slice, stream.rank_slice.partitioning
    return {
        "seed": stream.shuffle.seed,
        "epoch": stream.epoch,
        "tail": parts.tail,
        "rank": ours.rank,
        "world_size": ours.world_size,
        "partitions": parts.partitions,
        "batch_size": ours.batch_size,
        "rank_samples": len(ours),
        "steps": ours.num_steps,
    }


def order_path(stream: Stream) -> tuple[Integers, Integers]:
    """Return numbers in this rank's epoch and where these samples are stored, up to 20,000, for a plot."""
    numbers = plotted_numbers(stream)
    return numbers, epoch_items(stream, numbers)


def plotted_numbers(stream: Stream) -> Integers:
    """Return numbers in this rank's epoch, up to 20,000 in stretches of neighbours."""
    length = min(len(stream.rank_slice), NEIGHBOURS)
    return stretches(len(stream.rank_slice), length, PLOTTED // length)


def epoch_items(stream: Stream, numbers: Integers) -> Integers:
    """Return (n) the samples, counted in stored order, that come as these numbers in the rank's epoch."""
    return _EpochCosts(stream).order.items(*stream.rank_slice.locate(numbers))


class _EpochCosts:
    """The order of one rank's epoch, and what reading it costs.

    Raises:
        OptionError: The stream is a mix, or the rank has no samples.
    """

    def __init__(self, stream: Stream) -> None:
        if not isinstance(stream.epochs, DatasetEpochs):
            raise OptionError("a mix does not have an order of its own; look at its datasets one by one")
        if stream.epochs.draws is not None:
            raise OptionError("a balanced or weighted order has no shuffle to measure; look at what it draws")
        if not len(stream):
            raise OptionError("there are no samples for this rank; choose another dataset, or fewer ranks")
        self.stream_input = stream.epochs.stream_input
        self.view, self._slice, self._shuffle = self.stream_input.view, stream.rank_slice, stream.shuffle
        self._limits, self._epoch = stream.epochs.limits, stream.epoch
        self.segments = self.view.segments()
        self.order = EpochOrder(self.segments, self._shuffle, self._slice.partitioning, self._epoch)

    def costs(self) -> dict[str, int]:
        """Return the attributes of `OrderStats` that count blocks, requests and bytes."""
        ours, parts = self._slice, self._slice.partitioning
        total_bytes = int(self.segments.num_bytes.sum())
        rank_bytes = total_bytes * len(ours) // parts.num_items
        blocks, total_blocks = self._count_runs()
        block_bytes = total_bytes // total_blocks if total_blocks else 0
        if self._shuffle.mode == "global":
            requests = len(ours)
        elif self._shuffle.mode == "blocks":
            requests = blocks
        else:  # runs are read in long ranges
            requests = max(blocks, -(-rank_bytes // CHUNK_BYTES))
        window_bytes = read_ahead_bytes = 0
        if self._shuffle.mode == "blocks":
            blocks_per_partition = -(-self._shuffle.window_blocks // parts.partitions)
            window_bytes = min(len(ours.owned) * blocks_per_partition * block_bytes, rank_bytes)
            read_ahead_bytes = min(2 * window_bytes, rank_bytes)
        return {
            "rank_bytes": rank_bytes,
            "window_blocks": self._shuffle.window_blocks,
            "blocks": blocks,
            "block_bytes": block_bytes,
            "requests": requests,
            "first_sample_bytes": self._first_samples() * (total_bytes // parts.num_items),
            "window_bytes": window_bytes,
            "read_ahead_bytes": read_ahead_bytes,
            "memory_bytes": min(self._held_bytes(read_ahead_bytes), rank_bytes) + ORDER_BYTES * total_blocks,
        }

    def _first_samples(self) -> int:
        """Return how many samples are read before the first one is handed out."""
        reader = EpochReader(self.stream_input, self._shuffle, self._slice, self._limits, is_shared=False)
        first, _ = reader.group_samples()
        partition, offset = self._slice.locate(np.arange(min(first, len(self._slice))))
        (chunk,) = reader.planner.chunks(self._epoch, partition, offset, first)
        return sum(len(reader.planner.load(load_id).positions) for load_id in chunk.load_ids)

    def _held_bytes(self, read_ahead_bytes: int) -> int:
        """Return how many bytes of samples a stream holds; a local stream reads ahead into the page cache."""
        if not self.stream_input.is_remote:
            return MAX_PART_BYTES
        return min(read_ahead_bytes or THREADS * CHUNK_BYTES, self._limits.memory_bytes)

    def _count_runs(self) -> tuple[int, int]:
        """Return how many runs of neighbours this rank reads, counting partial ones, and how many exist."""
        parts, mode = self._slice.partitioning, self._shuffle.mode
        if mode == "global":
            return 0, 0
        owned = np.array(self._slice.owned, np.int64)
        owned = owned[parts.lengths()[owned] > 0]
        order = self.order
        if mode == "none":  # stored order: the runs are the segments themselves
            ends = np.cumsum(self.segments.count)
            start, stop = (parts.slots(part, np.zeros_like(part)) for part in (owned, owned + 1))
            first, last = (np.searchsorted(ends, slot, side="right") for slot in (start, stop - 1))
            return int((last - first + 1).sum()), len(ends)
        first, last = order.blocks_of(owned)
        return int((last - first + 1).sum()), order.num_blocks
