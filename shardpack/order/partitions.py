"""The part of an epoch that each rank gets: partitions, steps, tails (SPEC 7.4). Integers only.

An epoch of N items, in its order, is cut into `partitions` parts. One step takes `q` slots from
every part, which together are a global batch. Rank r owns the partitions p with p mod world_size = r.

    partitions = 4, world_size = 2, q = 1        step 0      step 1
    partition 0  rank 0                          a0          a1
    partition 1  rank 1                          b0          b1
    partition 2  rank 0                          c0          c1
    partition 3  rank 1                          d0          d1
    rank 0 sees a0 c0 a1 c1 ..., rank 1 sees b0 d0 b1 d1 ...; at world size 1: a0 b0 c0 d0 a1 ...

So the global batches do not depend on the world size, and after any full step every partition has
given the same number of items: one number is the resume point of all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shardpack.errors import OptionError
from shardpack.runtime.arrays import Integers

TAILS = ("pad", "drop", "exact")
MAX_PARTITIONS = 1 << 20  # far more than processes; bounds the memory that a state can request
MAX_BATCH = 1 << 40
ELASTIC_PARTITIONS = 64  # default maximum: world sizes that divide it can resume the epoch
_NAMED_WORLD_SIZES = 16  # fitting world sizes that an error lists


def elastic_partitions(world_size: int, batch_size: int | None, *, most: int = ELASTIC_PARTITIONS) -> int:
    """Return the default number of partitions, chosen so that many world sizes can resume the epoch.

    It is the largest divisor of the global batch that is a multiple of the world size and at most
    max(most, world_size); without a batch size, the largest such multiple.
    """
    per_rank = max(1, most // world_size)
    if batch_size is None:
        return world_size * per_rank
    return world_size * max(d for d in range(1, min(per_rank, batch_size) + 1) if batch_size % d == 0)


@dataclass(frozen=True, slots=True)
class Partitioning:
    """How an epoch is divided; the same for all ranks.

    Attributes:
        num_items: N, the number of items of the epoch.
        partitions: Number of partitions, a multiple of every world size that is used.
        global_batch: Items per step over all ranks, a multiple of `partitions`.
        tail: What to do if the last step cannot be divided evenly: "pad" repeats a sample on some
            ranks, "drop" leaves one out on some, "exact" does neither, so that ranks differ by one at most.
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
        """Number of items that a full step takes from each partition."""
        return self.global_batch // self.partitions

    @property
    def shortest(self) -> int:
        """Number of items in the shortest partition."""
        return self.num_items // self.partitions

    @property
    def longer(self) -> int:
        """How many partitions, the last ones, have one item more than the shortest."""
        return self.num_items % self.partitions

    @property
    def full_steps(self) -> int:
        """Number of steps with `items_per_step` items of every partition; one shorter step may follow."""
        return self.shortest // self.items_per_step

    def start(self, partition: int) -> int:
        """Return the slot at which a partition begins."""
        return partition * self.shortest + max(0, partition - self.partitions + self.longer)

    def length(self, partition: int) -> int:
        """Return the number of slots in a partition."""
        return self.shortest + (partition >= self.partitions - self.longer)

    def lengths(self) -> Integers:
        """Return (p) the number of slots in each partition."""
        return self.shortest + (np.arange(self.partitions) >= self.partitions - self.longer).astype(np.int64)

    def slots(self, partition: Integers, offset: Integers) -> Integers:
        """Return (n) the slots at (n) offsets in (n) partitions."""
        return partition * self.shortest + np.maximum(0, partition - (self.partitions - self.longer)) + offset

    def locate(self, slot: int) -> tuple[int, int]:
        """Return (partition, offset in it) of a slot."""
        border = (self.partitions - self.longer) * self.shortest  # the longer partitions begin here
        if slot < border:
            return divmod(slot, self.shortest)
        partition, offset = divmod(slot - border, self.shortest + 1)
        return partition + self.partitions - self.longer, offset

    def fitting_world_sizes(self) -> str:
        """Return a list of world sizes that divide the partitions, for errors."""
        fitting = [n for n in range(1, min(self.partitions, 1 << 12) + 1) if self.partitions % n == 0]
        named = fitting if len(fitting) <= _NAMED_WORLD_SIZES else [*fitting[:_NAMED_WORLD_SIZES], "..."]
        return ", ".join(map(str, named))


@dataclass(frozen=True, slots=True)
class RankSlice:
    """The part of an epoch that one rank gets; its samples are numbered from 0 in the order it sees them."""

    partitioning: Partitioning
    rank: int
    world_size: int

    def __post_init__(self) -> None:
        if self.world_size < 1:
            raise OptionError(f"world_size is {self.world_size}, expected at least 1")
        if not 0 <= self.rank < self.world_size:
            raise OptionError(f"rank is {self.rank}, expected 0 <= rank < world_size ({self.world_size})")
        if self.partitioning.partitions % self.world_size:
            raise OptionError(
                f"{self.partitioning.partitions} partitions cannot be divided evenly between {self.world_size} ranks; "
                f"choose a world size that divides them: {self.partitioning.fitting_world_sizes()}"
            )

    @property
    def owned(self) -> range:
        """Partitions of this rank, ascending."""
        return range(self.rank, self.partitioning.partitions, self.world_size)

    @property
    def batch_size(self) -> int:
        """Number of samples that this rank takes in a full step."""
        return self.partitioning.global_batch // self.world_size

    def __len__(self) -> int:
        longer, world_size = self.partitioning.longer, self.world_size
        more = {"pad": -(-longer // world_size), "drop": longer // world_size, "exact": self._longer_owned}
        return len(self.owned) * self.partitioning.shortest + more[self.partitioning.tail]

    @property
    def _longer_owned(self) -> int:
        return (self.partitioning.longer + self.rank) // self.world_size

    @property
    def end(self) -> int:
        """Number of samples of the rank with the most; as a resume point, the end of the epoch for every rank."""
        return len(RankSlice(self.partitioning, self.world_size - 1, self.world_size))

    @property
    def num_steps(self) -> int:
        """Number of steps of this rank, including a shorter last one."""
        full = self.partitioning.full_steps
        return full + (len(self) > full * self.batch_size)

    def step_bounds(self, step: int) -> tuple[int, int]:
        """Return (begin, end) of the numbers of one step's samples."""
        begin = step * self.batch_size
        return begin, min(begin + self.batch_size, len(self))

    def samples_of(self, steps: range) -> int:
        """Return the number of samples in some ascending steps."""
        if not steps:
            return 0
        begin, end = self.step_bounds(steps[-1])
        return (len(steps) - 1) * self.batch_size + end - begin

    def numbers_of(self, steps: range, numbers: Integers) -> Integers:
        """Return (n) the numbers in the epoch of samples that are numbered within some steps."""
        step, within = np.divmod(numbers, self.batch_size)
        return (steps.start + step * steps.step) * self.batch_size + within

    def reached(self, taken: int) -> int:
        """Return the number of samples this rank has taken, as a resume point that is valid for every rank.

        Ranks may differ in the last step of "exact": a rank that has completed it returns `end`.
        """
        last_step = self.partitioning.full_steps * self.batch_size
        return self.end if taken > len(self) or last_step < len(self) == taken else taken

    def locate(self, numbers: Integers) -> tuple[Integers, Integers]:
        """Return (n) partitions, and (n) offsets in them, of this rank's samples with (n) numbers."""
        q = self.partitioning.items_per_step
        step, within = np.divmod(numbers, self.batch_size)
        part, item = np.divmod(within, q)
        partition, offset = self.rank + part * self.world_size, step * q + item
        late = np.flatnonzero(step >= self.partitioning.full_steps)
        if len(late):
            last_partition, last_offset = self._last_step()
            partition[late], offset[late] = last_partition[within[late]], last_offset[within[late]]
        return partition, offset

    def _last_step(self) -> tuple[Integers, Integers]:
        """Return (partition, offset) of the samples left after the full steps; a padding sample comes last."""
        partitioning = self.partitioning
        taken = partitioning.full_steps * partitioning.items_per_step
        owned = np.array(self.owned, np.int64)
        first_longer = partitioning.partitions - partitioning.longer
        left = partitioning.shortest - taken + (owned >= first_longer)
        partition = np.repeat(owned, left)
        offset = taken + np.arange(len(partition)) - np.repeat(np.cumsum(left) - left, left)
        if partitioning.tail == "pad" and self._longer_owned * self.world_size < partitioning.longer:
            repeated = first_longer + self.rank % partitioning.longer  # from another rank's last step
            partition, offset = np.append(partition, repeated), np.append(offset, partitioning.shortest)
        return partition, offset
