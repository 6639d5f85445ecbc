"""Who gets which part of an epoch: partitions, ranks, batches, tails (SPEC 7.4). Integers only.

An epoch of N items, in its order, is cut into `partitions` spans. One step takes `q` items from
every span; that is a global batch. Rank r owns the spans p with p mod world_size = r.

    partitions = 4, world_size = 2, q = 1        step 0      step 1
    span 0  rank 0                               a0          a1
    span 1  rank 1                               b0          b1
    span 2  rank 0                               c0          c1
    span 3  rank 1                               d0          d1
    rank 0 sees a0 c0 a1 c1 ..., rank 1 sees b0 d0 b1 d1 ...; at world size 1: a0 b0 c0 d0 a1 ...

So the global batches do not depend on the world size, and after any step every span has given the
same number of items: one number says where all ranks are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError

TAILS = ("pad", "drop", "exact")


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How an epoch is dealt out, for all ranks alike.

    Attributes:
        num_items: N, items of the epoch.
        partitions: Spans; a multiple of every world size that takes part.
        global_batch: Items of one step over all ranks; a multiple of `partitions`.
        tail: "pad" repeats up to partitions - 1 items, so that all ranks get the same number;
            "drop" leaves out as many; "exact" does neither: ranks may differ.
    """

    num_items: int
    partitions: int
    global_batch: int
    tail: str = "pad"

    def __post_init__(self) -> None:
        if self.tail not in TAILS:
            raise OptionError(f"tail is {self.tail!r}; choose one of {', '.join(map(repr, TAILS))}")
        if self.partitions < 1:
            raise OptionError(f"partitions is {self.partitions}, expected at least 1")
        if self.global_batch < 1 or self.global_batch % self.partitions:
            raise OptionError(
                f"a global batch of {self.global_batch} does not divide into {self.partitions} partitions; "
                "choose batch_size and partitions so that batch_size * world_size is a multiple of partitions"
            )

    @property
    def items_per_step(self) -> int:
        """Items that one step takes from each partition."""
        return self.global_batch // self.partitions

    def start(self, partition: int) -> int:
        """Return the place in the epoch's order where a partition begins."""
        return partition * self.num_items // self.partitions

    def length(self, partition: int) -> int:
        """Return how many items a partition gives in an epoch."""
        if self.tail == "pad":
            return -(-self.num_items // self.partitions)
        if self.tail == "drop":
            return self.num_items // self.partitions
        return self.start(partition + 1) - self.start(partition)

    @property
    def full_steps(self) -> int:
        """Steps in which every partition gives `items_per_step` items; one shorter step may follow."""
        shortest = self.num_items // self.partitions if self.tail != "pad" else self.length(0)
        return shortest // self.items_per_step


@dataclass(frozen=True, slots=True)
class RankShare:
    """What one rank gets of an epoch: its items are numbered from 0 in the order it sees them."""

    deal: Partitioning
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank is {self.rank}, expected 0 <= rank < world_size ({self.world_size})")
        if self.deal.partitions % self.world_size:
            raise OptionError(
                f"{self.deal.partitions} partitions cannot be shared by {self.world_size} ranks alike; "
                "choose a world size that divides them"
            )

    @property
    def owned(self) -> range:
        """The partitions of this rank, ascending."""
        return range(self.rank, self.deal.partitions, self.world_size)

    @property
    def batch_size(self) -> int:
        """Items that this rank takes in a step."""
        return self.deal.global_batch // self.world_size

    def __len__(self) -> int:
        return sum(self.deal.length(partition) for partition in self.owned)

    @property
    def num_steps(self) -> int:
        """Steps of this rank, the shorter last one included."""
        return self.deal.full_steps + (len(self) > self.deal.full_steps * self.batch_size)

    def step_bounds(self, step: int) -> tuple[int, int]:
        """Return the numbers (begin, end) of the items of one step."""
        begin = step * self.batch_size
        return begin, min(begin + self.batch_size, len(self))

    def places(self, begin: int, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (partition, offset in it) of the items begin <= n < end of this rank."""
        deal, q = self.deal, self.deal.items_per_step
        numbers = np.arange(begin, end)
        full = deal.full_steps * self.batch_size
        step, within = np.divmod(numbers[numbers < full], self.batch_size)
        slot, item = np.divmod(within, q)
        partition, offset = self.rank + slot * self.world_size, step * q + item
        if end > full:
            last_partition, last_offset = self._last_step()
            chosen = numbers[numbers >= full] - full
            partition = np.concatenate((partition, last_partition[chosen]))
            offset = np.concatenate((offset, last_offset[chosen]))
        return partition, offset

    def _last_step(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        taken = self.deal.full_steps * self.deal.items_per_step
        left = np.array([self.deal.length(partition) - taken for partition in self.owned], np.int64)
        partition = np.repeat(np.array(self.owned, np.int64), left)
        return partition, taken + np.arange(len(partition)) - np.repeat(np.cumsum(left) - left, left)
