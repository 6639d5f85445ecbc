"""Who gets which part of an epoch: partitions, ranks, steps, tails (SPEC 7.4). Integers only.

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
MAX_PARTITIONS = 1 << 20  # more than there are processes anywhere; bounds what a state can ask for
MAX_BATCH = 1 << 40


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How an epoch is dealt out, for all ranks alike.

    Attributes:
        num_items: N, items of the epoch.
        partitions: Spans; a multiple of every world size that takes part.
        global_batch: Items of one step over all ranks; a multiple of `partitions`.
        tail: "pad" repeats up to partitions - 1 items, so that all ranks get the same number;
            "drop" leaves out as many; "exact" does neither: ranks differ by one item at most.
    """

    num_items: int
    partitions: int
    global_batch: int
    tail: str = "pad"

    def __post_init__(self) -> None:
        if self.tail not in TAILS:
            raise OptionError(f"tail is {self.tail!r}; choose one of {', '.join(map(repr, TAILS))}")
        if not 1 <= self.partitions <= MAX_PARTITIONS:
            raise OptionError(f"partitions is {self.partitions}, expected 1 to {MAX_PARTITIONS}")
        if not 1 <= self.global_batch <= MAX_BATCH:
            raise OptionError(f"batch_size * world_size is {self.global_batch}, expected 1 to {MAX_BATCH}")
        if self.global_batch % self.partitions:
            raise OptionError(
                f"a global batch of {self.global_batch} does not divide into {self.partitions} partitions; "
                "choose batch_size and partitions so that batch_size * world_size is a multiple of partitions"
            )

    @property
    def items_per_step(self) -> int:
        """Items that one step takes from each partition."""
        return self.global_batch // self.partitions

    @property
    def shortest(self) -> int:
        """Items of the shortest span."""
        return self.num_items // self.partitions

    @property
    def longer(self) -> int:
        """How many spans hold one item more than the shortest: the last ones."""
        return self.num_items % self.partitions

    def start(self, partition: int) -> int:
        """Return the place in the epoch's order where a partition begins."""
        return partition * self.shortest + max(0, partition - self.partitions + self.longer)

    def places(self, partition: npt.NDArray[np.int64], offset: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return places in the epoch's order, of offsets in partitions."""
        return partition * self.shortest + np.maximum(0, partition - (self.partitions - self.longer)) + offset

    def length(self, partition: int) -> int:
        """Return how many items a partition gives in an epoch; padding takes the first of the next one."""
        if self.tail == "pad":
            return self.shortest + (self.longer > 0)
        if self.tail == "drop":
            return self.shortest
        return self.start(partition + 1) - self.start(partition)

    @property
    def full_steps(self) -> int:
        """Steps in which every partition gives `items_per_step` items; one shorter step may follow."""
        return self.length(0) // self.items_per_step


@dataclass(frozen=True, slots=True)
class RankShare:
    """What one rank gets of an epoch: its items are numbered from 0 in the order it sees them."""

    deal: Partitioning
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise OptionError(f"world_size is {self.world_size}, expected at least 1")
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
        deal = self.deal
        more = (deal.longer + self.rank) // self.world_size if deal.tail == "exact" else 0
        return len(self.owned) * deal.length(0) + more

    @property
    def end(self) -> int:
        """The length of the longest share; taken as a number of items, the end of the epoch for every rank."""
        return len(RankShare(self.deal, self.world_size - 1, self.world_size))

    @property
    def num_steps(self) -> int:
        """Steps of this rank, the shorter last one included."""
        return self.deal.full_steps + (len(self) > self.deal.full_steps * self.batch_size)

    def step_bounds(self, step: int) -> tuple[int, int]:
        """Return the numbers (begin, end) of the items of one step."""
        begin = step * self.batch_size
        return begin, min(begin + self.batch_size, len(self))

    def samples_of(self, steps: range) -> int:
        """Return how many items some ascending steps hold."""
        if not steps:
            return 0
        begin, end = self.step_bounds(steps[-1])
        return (len(steps) - 1) * self.batch_size + end - begin

    def numbers_of(self, steps: range, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the numbers of items that are numbered among those of some steps."""
        step, within = np.divmod(numbers, self.batch_size)
        return (steps.start + step * steps.step) * self.batch_size + within

    def reached(self, taken: int) -> int:
        """Return how many items this rank has taken, as a number that serves every rank.

        In the last step of "exact" ranks differ: who is through with it says `end`.
        """
        last_step = self.deal.full_steps * self.batch_size
        return self.end if taken > len(self) or last_step < len(self) == taken else taken

    def places(self, begin: int, end: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (partition, offset in it) of the items begin <= n < end of this rank."""
        return self.places_of(np.arange(begin, end))

    def places_of(self, numbers: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return (partition, offset in it) of some items of this rank, by their numbers."""
        q = self.deal.items_per_step
        step, within = np.divmod(numbers, self.batch_size)
        slot, item = np.divmod(within, q)
        partition, offset = self.rank + slot * self.world_size, step * q + item
        late = np.flatnonzero(step >= self.deal.full_steps)
        if len(late):
            last_partition, last_offset = self._last_step()
            partition[late], offset[late] = last_partition[within[late]], last_offset[within[late]]
        return partition, offset

    def _last_step(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        taken = self.deal.full_steps * self.deal.items_per_step
        left = np.array([self.deal.length(partition) - taken for partition in self.owned], np.int64)
        partition = np.repeat(np.array(self.owned, np.int64), left)
        return partition, taken + np.arange(len(partition)) - np.repeat(np.cumsum(left) - left, left)
