"""What an epoch would do, computed beforehand: samples, requests, memory, and how well it mixes, by measure.

    rank slice, order --a sample of batches--> positions --keys or json--> classes --> entropy
    the same slots in a global shuffle       --> positions --> classes --> entropy       ratio of both

Reads indexes; a payload only where labels are asked of the json field.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from shardpack.errors import FieldNotFoundError, OptionError
from shardpack.order.epoch import EpochOrder
from shardpack.read.read_many import read_samples
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.reader import CHUNK_BYTES, MAX_PART_BYTES
from shardpack.stream.stream import Stream

BATCH = 256  # samples of a batch that is looked at, if the stream has no batch size
LOOKED_AT = 1 << 14  # samples of all these batches, about
MOST_BATCHES = 1 << 10
PLOTTED, NEIGHBOURS = 20_000, 10  # samples drawn, in stretches
LABELS_AT_ONCE = 1024
TRUE_SHUFFLE_DISTANCE = 1 - math.sqrt(0.5)  # median of |a - b| of two uniform numbers
POORLY_MIXED = 0.95
COMPARED_WORLD_SIZES = (1, 8, 64)
THREADS = 16  # that read ahead from a remote store
ORDER_BYTES = 72  # a block: four numbers of it, five of a window


@dataclass(frozen=True, slots=True)
class OrderStats:
    """One rank's epoch.

    Attributes:
        num_samples: Of the dataset or view.
        shuffle, seed, epoch, tail, rank, world_size, partitions, batch_size: The order, as asked for.
        window_blocks: How many are mixed at a time, over all partitions and ranks.
        rank_samples, steps: What this rank gets.
        rank_bytes: Bytes of the tars that it reads, estimated by its part of the samples.
        blocks: Runs of neighbours that it takes up whole, as the order has them; 0 for "global".
        block_bytes: Their mean.
        requests: Ranges that a reader of whole blocks asks for; one a sample for "global".
        window_bytes: What is mixed at a time, over all partitions of the rank: held in memory or in the page cache.
        read_ahead_bytes: Read ahead and not used yet, at most; waits in the page cache, of a remote dataset in memory.
        memory_bytes: What the iterator holds: payloads of a chunk, and the order.
        neighbour_distance: Median distance in stored samples between neighbours of the epoch; 1 is a true shuffle's.
        measured_batches, measured_batch_size: What the entropies are the means of.
        num_classes: Classes met among these; 0 if samples have none.
        class_entropy: Of a batch, 0 (one class) to 1 (all classes alike); None without classes.
        class_entropy_stored, class_entropy_shuffled: The same in stored order, and of a true shuffle.
        class_mixing: class_entropy / class_entropy_shuffled; None where that says nothing.
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
        """Whether batches hold clearly fewer classes than a true shuffle would give them."""
        return self.class_mixing is not None and self.class_mixing < POORLY_MIXED


def order_stats(stream: Stream, *, class_from: str = "key", progress: Progress = no_progress) -> OrderStats:
    """Return what the stream's epoch costs this rank and how well it mixes.

    Costs the indexes of the shards that the batches looked at lie in: 16,384 samples three times, at most.

    Args:
        stream: Of `Dataset.stream`; its epoch is the one looked at.
        class_from: "key" takes the first folder of the key as class, "json" the `label` of the json
            field (or all of it, where that is no object).
        progress: Called as progress("measure", samples done, samples in all).

    Raises:
        OptionError: The rank has no samples.
        FieldNotFoundError: The dataset has no json field.
        DecodeError: A json field is none.
    """
    look = _Looked(stream)
    ours, parts, shuffle = stream.rank_slice, stream.rank_slice.partitioning, stream.shuffle
    size = min(len(ours), ours.batch_size if stream.has_batch_size else BATCH)
    slots = ours.locate(_stretches(len(ours), size, min(max(LOOKED_AT // size, 16), MOST_BATCHES)))
    true_shuffle = EpochOrder(look.segments, replace(shuffle, mode="global"), parts, stream.epoch)
    items = look.order.items(*slots)
    stored = _stretches(parts.num_items, min(size, parts.num_items), len(items) // size)
    entropies, num_classes = _entropies(
        [look.view.at(part) for part in (items, stored, true_shuffle.items(*slots))],
        size,
        _CLASS_FROM[class_from],
        look.source.shards,
        progress,
    )
    mixing = entropies[0] / entropies[2] if entropies and entropies[2] else None
    distance = np.median(np.abs(np.diff(items.reshape(-1, size), axis=1))) if size > 1 else 0.0
    return OrderStats(
        num_samples=parts.num_items,
        shuffle=shuffle.mode,
        seed=shuffle.seed,
        epoch=stream.epoch,
        tail=parts.tail,
        rank=ours.rank,
        world_size=ours.world_size,
        partitions=parts.partitions,
        batch_size=ours.batch_size,
        rank_samples=len(ours),
        steps=ours.num_steps,
        **look.costs(),
        neighbour_distance=float(distance) / (parts.num_items * TRUE_SHUFFLE_DISTANCE),
        measured_batches=len(items) // size,
        measured_batch_size=size,
        num_classes=num_classes,
        class_entropy=entropies[0] if entropies else None,
        class_entropy_stored=entropies[1] if entropies else None,
        class_entropy_shuffled=entropies[2] if entropies else None,
        class_mixing=mixing,
    )


def compare_defaults(
    make_stream: Callable[..., Stream], *, class_from: str = "key", progress: Progress = no_progress
) -> list[OrderStats]:
    """Return the figures of the default partitions and of one partition a rank, at 1, 8 and 64 ranks.

    Args:
        make_stream: Returns the stream of rank 0 for `world_size`, and `partitions` where they are given.
        class_from, progress: As for `order_stats`.
    """
    found = []
    for world_size in COMPARED_WORLD_SIZES:
        for partitions in (None, world_size):
            stream = make_stream(world_size=world_size, partitions=partitions)
            found.append(order_stats(stream, class_from=class_from, progress=progress))
    return found


def order_path(stream: Stream) -> tuple[Integers, Integers]:
    """Return (number in this rank's epoch, stored position) of some 20,000 samples, to draw."""
    look, ours = _Looked(stream), stream.rank_slice
    length = min(len(ours), NEIGHBOURS)
    numbers = _stretches(len(ours), length, PLOTTED // length)
    return numbers, look.order.items(*ours.locate(numbers))


class _Looked:
    """The order of a stream's epoch, and the runs it is made of."""

    def __init__(self, stream: Stream) -> None:
        if not isinstance(stream.epochs, DatasetEpochs):
            raise OptionError("a mix has no order of its own; look at its datasets one by one")
        if not len(stream):
            raise OptionError("there are no samples for this rank; choose another dataset, or fewer ranks")
        self.source = stream.epochs.source
        self.view, self._slice, self._shuffle = self.source.view, stream.rank_slice, stream.shuffle
        self._memory_bytes = stream.epochs.limits.memory_bytes
        self.segments = self.view.segments()
        self.order = EpochOrder(self.segments, self._shuffle, self._slice.partitioning, stream.epoch)

    def costs(self) -> dict[str, int]:
        ours, parts = self._slice, self._slice.partitioning
        total = int(self.segments.num_bytes.sum())
        rank_bytes = total * len(ours) // parts.num_items
        blocks, in_all = self._runs()
        block_bytes = total // in_all if in_all else 0
        if self._shuffle.mode == "global":
            requests = len(ours)
        elif self._shuffle.mode == "blocks":
            requests = blocks
        else:  # runs are read in long ranges
            requests = max(blocks, -(-rank_bytes // CHUNK_BYTES))
        window_bytes = read_ahead_bytes = 0
        if self._shuffle.mode == "blocks":
            each = -(-self._shuffle.window_blocks // parts.partitions)
            window_bytes = min(len(ours.owned) * each * block_bytes, rank_bytes)
            read_ahead_bytes = min(2 * window_bytes, rank_bytes)
        return {
            "rank_bytes": rank_bytes,
            "window_blocks": self._shuffle.window_blocks,
            "blocks": blocks,
            "block_bytes": block_bytes,
            "requests": requests,
            "window_bytes": window_bytes,
            "read_ahead_bytes": read_ahead_bytes,
            "memory_bytes": min(self._held_bytes(read_ahead_bytes), rank_bytes) + ORDER_BYTES * in_all,
        }

    def _held_bytes(self, read_ahead_bytes: int) -> int:
        """Return how many bytes of samples a stream holds: local, what it reads ahead waits in the page cache."""
        if not self.source.is_remote:
            return MAX_PART_BYTES
        return min(read_ahead_bytes or THREADS * CHUNK_BYTES, self._memory_bytes)

    def _runs(self) -> tuple[int, int]:
        """Return how many runs this rank takes up, parts of one included, and how many there are in all."""
        parts, mode = self._slice.partitioning, self._shuffle.mode
        if mode == "global":
            return 0, 0
        owned = np.array(self._slice.owned, np.int64)
        owned = owned[parts.lengths()[owned] > 0]
        order = self.order
        if mode == "none":  # the runs as they are stored are those of an arrangement that changes nothing
            ends = np.cumsum(self.segments.count)
            start, stop = (parts.slots(part, np.zeros_like(part)) for part in (owned, owned + 1))
            first, last = (np.searchsorted(ends, slot, side="right") for slot in (start, stop - 1))
            return int((last - first + 1).sum()), len(ends)
        first, last = order.blocks_of(owned)
        return int((last - first + 1).sum()), order.num_blocks


def _stretches(total: int, length: int, most: int) -> Integers:
    """Return the numbers in up to `most` stretches of 0 .. total - 1, evenly spread, at multiples of their length."""
    whole = max(1, total // length)
    count = max(1, min(most, whole))
    begin = np.arange(count) * whole // count * length
    return (begin[:, None] + np.arange(length)).reshape(-1)


def _entropies(
    parts: list[Integers],
    size: int,
    classes_of: Callable[[ShardCache, Integers, Callable[[int], None]], list[str | None]],
    shards: ShardCache,
    progress: Progress,
) -> tuple[list[float], int]:
    """Return the mean class entropy of the batches of each part, 0 to 1, and the number of classes.

    No entropies where there are no two classes.
    """
    positions, where = np.unique(np.concatenate(parts), return_inverse=True)
    classes = classes_of(shards, positions, lambda done: progress("measure", done, len(positions)))
    known = {name: code for code, name in enumerate(dict.fromkeys(classes))}
    codes = np.array([known[name] for name in classes], np.int64)[where.reshape(-1)]
    num_classes = len(known.keys() - {None})
    if num_classes < 2 or size < 2:
        return [], num_classes
    ends = np.cumsum([len(part) for part in parts])[:-1]
    most = math.log(min(len(known), size))
    return [_entropy(part.reshape(-1, size), len(known)) / most for part in np.split(codes, ends)], num_classes


def _entropy(batches: Integers, kinds: int) -> float:
    """Return the mean entropy in nats of the rows."""
    total = 0.0
    for batch in batches:
        parts = np.bincount(batch, minlength=kinds) / len(batch)
        parts = parts[parts > 0]
        total -= float((parts * np.log(parts)).sum())
    return total / len(batches)


def _key_classes(shards: ShardCache, positions: Integers, done: Callable[[int], None]) -> list[str | None]:
    classes: list[str | None] = []
    for number, begin, end in shards.runs(positions):
        shard = shards.get(number)
        for position in positions[begin:end].tolist():
            folder, slash, _ = shard.keys.text_at(position).partition("/")
            classes.append(folder if slash else None)
        done(end)
    return classes


def _json_classes(shards: ShardCache, positions: Integers, done: Callable[[int], None]) -> list[str | None]:
    if "json" not in shards.manifest.samples_per_field:
        raise FieldNotFoundError("no field 'json' to take classes from; use class_from=\"key\" (--class-from key)")
    classes: list[str | None] = []
    for begin in range(0, len(positions), LABELS_AT_ONCE):
        for sample in read_samples(shards, positions[begin : begin + LABELS_AT_ONCE], ("json",)):
            value = sample.decode("json") if "json" in sample else None
            label = value.get("label") if isinstance(value, dict) else value
            classes.append(None if label is None else json.dumps(label, sort_keys=True))
        done(len(classes))
    return classes


_CLASS_FROM = {"key": _key_classes, "json": _json_classes}
CLASS_FROM = tuple(_CLASS_FROM)
