"""What balanced and weighted orders have in common, for those who read in them."""

from __future__ import annotations

from typing import Protocol

from shardpack.order.partitions import Partitioning
from shardpack.runtime.arrays import Integers


class DrawnOrder(Protocol):
    """One epoch of a balanced or weighted stream."""

    def samples(self, partition: Integers, offset: Integers) -> tuple[Integers, Integers]:
        """Return what is at (n) offsets in (n) partitions: (n) stored positions, and (n) repeats.

        Of the slots of an epoch that have the same sample, each has another repeat.
        """
        ...


class DrawnOrders(Protocol):
    """All epochs of a balanced or weighted stream. Thread-safe."""

    @property
    def num_slots(self) -> int:
        """Samples of an epoch."""
        ...

    def order(self, partitioning: Partitioning, epoch: int) -> DrawnOrder:
        """Return the order of one epoch."""
        ...
