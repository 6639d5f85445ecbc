"""Balanced and weighted orders: which sample of which class has a slot, by arithmetic (SPEC 7.7).

    (partition, offset) --steps--> number of the slot --forks--> (tier, item) --rounds--> (class, item of the epoch)
      --quotas of the epochs before--> item of the class --its own shuffle--> stored position

Classes of equal weight form a tier. A tier goes round by round, each class once in every round, in an order of its own.
A step is a run of slots, and so is what each rank takes of it: batches are as balanced as they can be, on every rank.
Shapes in comments: c classes, t tiers, n slots asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shardpack.errors import OptionError
from shardpack.order.forks import Forks, Tree
from shardpack.order.groups import Classes
from shardpack.order.partitions import Partitioning
from shardpack.order.permutation import CLASS_ORDER, ROUND_ORDER, derive_key, extend_keys
from shardpack.order.quotas import MAX_EPOCHS, MAX_SLOTS, Quotas
from shardpack.order.shuffled import walked
from shardpack.runtime.arrays import Integers


class ClassOrders:
    """The epochs of classes in proportion to their weights. Immutable and thread-safe.

    Attributes:
        classes: The classes.
        num_slots: Slots of an epoch.
    """

    def __init__(self, classes: Classes, weights: Sequence[int], *, num_slots: int, seed: int) -> None:
        """Create the epochs of `classes`, one weight each: positive integers.

        Raises:
            OptionError: An epoch would be too long.
        """
        if num_slots > MAX_SLOTS:
            raise OptionError(f"an epoch of {num_slots} samples, expected at most {MAX_SLOTS}; give num_samples")
        self.classes, self.num_slots, self.seed = classes, num_slots, seed
        self.most_times = 1 if classes.earlier is None else int(classes.earlier.max(initial=0)) + 1
        self.quotas = Quotas(weights, num_slots)
        own = np.array(weights, np.int64)
        values, self._tier, self.tier_counts = np.unique(own, return_inverse=True, return_counts=True)  # (t), (c), (t)
        self.by_tier = np.argsort(self._tier.reshape(-1), kind="stable")  # (c) the classes of the first tier, ...
        self.tier_first = np.cumsum(self.tier_counts) - self.tier_counts  # (t) where each tier begins in it
        sizes = self.tier_counts.tolist()
        self.tree = Tree([weight * size for weight, size in zip(values.tolist(), sizes, strict=True)])
        self.tier_rounds = np.array([num_slots * weight // sum(weights) for weight in values.tolist()], np.int64)

    def order(self, partitioning: Partitioning, epoch: int) -> ClassOrder:
        """Return the order of one epoch.

        Raises:
            OptionError: The number of the epoch is too large.
        """
        if epoch >= MAX_EPOCHS:
            raise OptionError(f"epoch {epoch} of a balanced order, expected less than {MAX_EPOCHS}")
        return ClassOrder(self, partitioning, epoch)


class ClassOrder:
    """One epoch. Immutable and thread-safe; takes time and memory in proportion to the classes."""

    def __init__(self, orders: ClassOrders, partitioning: Partitioning, epoch: int) -> None:
        self._orders, self._partitioning, self._epoch = orders, partitioning, epoch
        self._place = places(partitioning.partitions)
        quotas = orders.quotas.of(epoch)  # (c)
        self._before = orders.quotas.before(epoch)  # (c)
        by_tier = quotas[orders.by_tier]
        self._forks = Forks(orders.tree, np.add.reduceat(by_tier, orders.tier_first).tolist(), orders.seed, epoch)
        # The classes of the last round of each tier, in which not all of the tier may be.
        rounds = np.repeat(orders.tier_rounds, orders.tier_counts)  # (c)
        has_more = by_tier > rounds
        self._last = orders.by_tier[has_more]  # (classes in last rounds)
        self._last_count = np.add.reduceat(has_more.astype(np.int64), orders.tier_first)  # (t)
        self._last_first = np.cumsum(self._last_count) - self._last_count  # (t)
        self._round_key = extend_keys(derive_key(ROUND_ORDER, orders.seed, epoch), np.arange(len(orders.tier_first)))
        self._class_key = extend_keys(derive_key(CLASS_ORDER, orders.seed), np.arange(len(orders.classes)))

    def draws(self, partition: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Return (n) the classes at (n) offsets in (n) partitions, and (n) how many items of the class came before.

        Items count over all epochs.
        """
        orders = self._orders
        tier, item = self._forks.items(slot_numbers(self._partitioning, self._place, partition, offset))
        size, rounds = orders.tier_counts[tier], orders.tier_rounds[tier]
        number, within = np.divmod(item, size)
        is_last = number >= rounds
        number = np.minimum(number, rounds)
        within = np.where(is_last, item - rounds * size, within)
        size = np.where(is_last, self._last_count[tier], size)
        place = walked(within, size, extend_keys(self._round_key[tier], number))
        classes: Integers = np.empty_like(place)
        full, last = np.flatnonzero(~is_last), np.flatnonzero(is_last)
        classes[full] = orders.by_tier[orders.tier_first[tier[full]] + place[full]]
        classes[last] = self._last[self._last_first[tier[last]] + place[last]]
        return classes, self._before[classes] + number

    def samples(self, partition: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Return (n) the stored positions at (n) offsets in (n) partitions, and (n) repeats; see `DrawnOrder`."""
        own = self._orders.classes
        classes, item = self.draws(partition, offset)
        count = own.count[classes]
        cycle, within = np.divmod(item, count)
        place = walked(within, count, extend_keys(self._class_key[classes], cycle))
        at = own.first[classes] + place
        positions: Integers = own.positions[at].astype(np.int64)
        repeats = cycle - self._before[classes] // count
        return positions, repeats if own.earlier is None else repeats * self._orders.most_times + own.earlier[at]


def places(partitions: int) -> Integers:
    """Return (p) the place of each partition in a step: its digits backwards, the base of each a prime factor.

    So the partitions of a rank, which are equal modulo the world size, have neighbouring places.
    """
    place, rest, factor, left = np.zeros(partitions, np.int64), np.arange(partitions), 2, partitions
    while left > 1:
        if left % factor:
            factor = factor + 1 if factor * factor < left else left
            continue
        left //= factor
        rest, digit = np.divmod(rest, factor)
        place = place * factor + digit
    return place


def slot_numbers(partitioning: Partitioning, place: Integers, partition: Integers, offset: Integers) -> Integers:
    """Return (n) the numbers of slots, counted step by step."""
    q, full = partitioning.items_per_step, partitioning.full_steps
    step, within = np.divmod(offset, q)
    each = np.where(step < full, q, partitioning.shortest - full * q)  # slots that the step takes of every partition
    number = step * partitioning.global_batch + place[partition] * each + within
    beyond = np.flatnonzero(offset == partitioning.shortest)  # the last slots of longer partitions
    first_longer = partitioning.partitions - partitioning.longer
    number[beyond] = partitioning.shortest * partitioning.partitions + partition[beyond] - first_longer
    return number
