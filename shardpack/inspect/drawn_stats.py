"""What a balanced or weighted epoch draws: how often each class comes, in the epoch and in a batch, and its samples.

    stream --`ClassOrder`, slots of some batches--> classes --> counts a batch

Arithmetic alone; reads nothing but the label table that the stream has read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.inspect.class_mixing import stretches
from shardpack.inspect.order_stats import BATCH, plotted_numbers, share_of_rank
from shardpack.order.balanced import ClassOrder, ClassOrders
from shardpack.order.weighted import SampleOrders
from shardpack.runtime.arrays import Integers
from shardpack.stream.draws import Draws
from shardpack.stream.epochs import DatasetEpochs
from shardpack.stream.stream import Stream

MEASURED_SAMPLES = 1 << 18  # about as many in all measured batches


@dataclass(frozen=True, slots=True)
class DrawnClass:
    """One class of a balanced or weighted epoch.

    Attributes:
        name: Its name.
        samples: Its samples in the dataset or view.
        drawn: How many slots it has in the epoch, over all ranks.
        batch_mean, batch_least, batch_most: Samples of it in a batch of this rank, over the measured batches.
        least_repeats, most_repeats: How often one sample of it comes in the epoch, at least and at most.
    """

    name: str
    samples: int
    drawn: int
    batch_mean: float
    batch_least: int
    batch_most: int
    least_repeats: int
    most_repeats: int


@dataclass(frozen=True, slots=True)
class DrawnStats:
    """What a balanced or weighted epoch of one rank holds.

    Attributes:
        num_samples: Samples in the dataset or view.
        epoch_samples: Samples of the epoch, over all ranks.
        seed, epoch, tail, rank, world_size, partitions, batch_size: The options of the order.
        rank_samples, steps: How many samples and steps this rank gets.
        rank_bytes: Bytes that this rank reads, estimated from its share of the samples.
        requests: How many ranges it reads: one per sample, before neighbours are merged.
        never_drawn: Samples that do not come in this epoch, at least.
        least_repeats, most_repeats: How often one sample comes in the epoch, at least and at most.
        measured_batches, measured_batch_size: The sample of batches in which classes were counted.
        classes: The classes; empty if each sample has a weight of its own.
    """

    num_samples: int
    epoch_samples: int
    seed: int
    epoch: int
    tail: str
    rank: int
    world_size: int
    partitions: int
    batch_size: int
    rank_samples: int
    steps: int
    rank_bytes: int
    requests: int
    never_drawn: int
    least_repeats: int
    most_repeats: int
    measured_batches: int
    measured_batch_size: int
    classes: tuple[DrawnClass, ...]


def drawn_stats(stream: Stream) -> DrawnStats:
    """Return what the epoch of a balanced or weighted stream holds.

    Raises:
        OptionError: The rank has no samples, or the stream is of another kind.
    """
    epochs, draws = _drawn(stream)
    ours, parts = stream.rank_slice, stream.rank_slice.partitioning
    size = min(len(ours), ours.batch_size if stream.has_batch_size else BATCH)
    numbers = stretches(len(ours), size, max(16, MEASURED_SAMPLES // size))
    orders, num_samples = draws.orders, len(epochs.stream_input.view)
    classes: tuple[DrawnClass, ...] = ()
    if isinstance(orders, ClassOrders):
        order = orders.order(parts, stream.epoch)
        counts = _counts(order, [ours.locate(part) for part in numbers.reshape(-1, size)], len(orders.classes))
        classes = tuple(_classes(orders, counts, stream.epoch))
        comes = sum(min(one.samples, one.drawn) for one in classes)
        least = min(one.least_repeats for one in classes)
        most = max(one.most_repeats for one in classes)
    else:
        assert isinstance(orders, SampleOrders)
        times = orders.times(stream.epoch)
        comes, least, most = int((times > 0).sum()), int(times.min()), int(times.max())
    return DrawnStats(
        num_samples=num_samples,
        epoch_samples=parts.num_items,
        **share_of_rank(stream),
        rank_bytes=epochs.stream_input.mean_bytes * len(ours),
        requests=len(ours),
        never_drawn=num_samples - comes,
        least_repeats=0 if comes < num_samples else least,
        most_repeats=most,
        measured_batches=len(numbers) // size,
        measured_batch_size=size,
        classes=classes,
    )


def drawn_path(stream: Stream) -> tuple[Integers, Integers]:
    """Return numbers in this rank's epoch and stored positions of these samples, up to 20,000, for a plot."""
    _, draws = _drawn(stream)
    ours, numbers = stream.rank_slice, plotted_numbers(stream)
    order = draws.orders.order(ours.partitioning, stream.epoch)
    return numbers, order.samples(*ours.locate(numbers))[0]


def _drawn(stream: Stream) -> tuple[DatasetEpochs, Draws]:
    if not isinstance(stream.epochs, DatasetEpochs) or stream.epochs.draws is None:
        raise OptionError("the stream is neither balanced nor weighted; give it balance or weights")
    if not len(stream):
        raise OptionError("there are no samples for this rank; choose another dataset, or fewer ranks")
    return stream.epochs, stream.epochs.draws


def _counts(order: ClassOrder, batches: list[tuple[Integers, Integers]], num_classes: int) -> npt.NDArray[Any]:
    """Return (3, c): the mean, the least and the most samples of each class in the batches."""
    total, least, most = np.zeros(num_classes, np.int64), np.full(num_classes, 1 << 62), np.zeros(num_classes, np.int64)
    for slots in batches:
        count = np.bincount(order.draws(*slots)[0], minlength=num_classes)
        total += count
        least, most = np.minimum(least, count), np.maximum(most, count)
    return np.stack([total / len(batches), least, most])


def _classes(orders: ClassOrders, counts: npt.NDArray[Any], epoch: int) -> Iterator[DrawnClass]:
    own = orders.classes
    drawn, before = orders.quotas.of(epoch).tolist(), orders.quotas.before(epoch).tolist()
    columns = zip(own.names, own.count.tolist(), drawn, before, counts.T.tolist(), strict=True)
    for name, samples, slots, earlier, (mean, least, most) in columns:
        first = min(slots, -earlier % samples)  # slots that end a round through the class which began earlier
        whole, rest = divmod(slots - first, samples)
        yield DrawnClass(name, samples, slots, mean, int(least), int(most), whole, whole + (first > 0) + (rest > 0))
