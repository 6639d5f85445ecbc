"""How many slots of each epoch every class gets: its share, rounded up or down, in turns (SPEC 7.7).

The shares of all classes are laid end to end on a line of N slots, which is cut at integers. From epoch to epoch the
line shifts by the golden ratio, so that over many epochs each class is rounded up as often as its share says.

    epoch 0   |--a---|--a---|--b---|--c---|          shares of 2.5, 0.9, 0.6: 2 1 1
    epoch 1        another shift                                             3 1 0, ...

Shapes in comments: c classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from shardpack.errors import OptionError
from shardpack.runtime.arrays import Integers

MAX_SLOTS = 1 << 31  # of an epoch
MAX_EPOCHS = 1 << 30  # keeps the slots of all epochs within 64 bits

_PRECISION = 1 << 32  # sum of weights that are not small integers
_GOLDEN = 0x9E3779B9  # the golden ratio, in units of 2^-32


def integer_weights(weights: Sequence[Fraction]) -> tuple[int, ...]:
    """Return weights as integers of the same proportions, exactly if they are small; otherwise rounded to 2^-32 of all.

    Raises:
        OptionError: A weight is too small a part of the sum.
    """
    scale = math.lcm(*(weight.denominator for weight in weights))
    exact = [int(weight * scale) for weight in weights]
    divisor = math.gcd(*exact)
    exact = [weight // divisor for weight in exact]
    total = sum(exact)
    if total <= _PRECISION:
        return tuple(exact)
    rounded = tuple(round(Fraction(_PRECISION * weight, total)) for weight in exact)
    if not all(rounded):
        raise OptionError("the smallest weight is less than 2^-33 of the sum; choose more even weights, or 0")
    return rounded


def golden_step(total: int) -> int:
    """Return by how much a line of this length shifts each epoch: it takes every shift before it repeats one."""
    step = total * _GOLDEN >> 32
    while math.gcd(step, total) != 1:
        step += 1
    return step


class Quotas:
    """The slots of each class, epoch by epoch. Immutable and thread-safe."""

    def __init__(self, weights: Sequence[int], num_slots: int) -> None:
        """Create the quotas of classes with these weights in epochs of `num_slots` slots."""
        self._total = sum(weights)
        bounds, reached = [(0, 0)], 0
        for weight in weights:
            reached += weight
            bounds.append(divmod(reached * num_slots, self._total))
        self._whole, self._rest = np.array(bounds, np.int64).T  # (c + 1) each: where the shares end on the line
        self._step = golden_step(self._total)

    def of(self, epoch: int) -> Integers:
        """Return (c) the slots of each class in an epoch."""
        shift = epoch * self._step % self._total
        bounds: Integers = self._whole + (self._rest + shift) // self._total
        return np.diff(bounds)

    def before(self, epoch: int) -> Integers:
        """Return (c) the slots of each class in all epochs before this one. O(log weights) each."""
        carried = floor_sums(epoch, self._total, self._step, self._rest)  # the first is that of the shifts alone
        bounds: Integers = epoch * self._whole + carried - carried[0]
        return np.diff(bounds)


def floor_sums(count: int, divisor: int, step: int, offsets: Integers) -> Integers:
    """Return, for each b of `offsets`, the sum of (step * i + b) // divisor over i = 0 ... count - 1.

    Works like Euclid's algorithm: the points below a line are counted by columns, then by rows, and so on.
    """
    sums, n, b = np.zeros_like(offsets), np.full_like(offsets, count), offsets
    while True:
        sums += n * (n - 1) // 2 * (step // divisor) + n * (b // divisor)
        step, b = step % divisor, b % divisor
        top = step * n + b
        if not (top >= divisor).any():
            return sums
        n, b = top // divisor, top % divisor
        divisor, step = step, divisor
