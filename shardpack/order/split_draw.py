"""Which samples are in which split, drawn by fractions: exact, and in proportion within strata (SPEC 7.8).

items --permutation--> order --strata, each in that order--> the first ones to the first split, the next to the next
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from shardpack.order.permutation import SPLIT_ORDER, derive_key, permutation
from shardpack.runtime.arrays import Integers

NONE = -1  # number of an item's split: it is in none
HASH_RANGE = 1 << 32  # the high half of a key's hash is below it


def draw_splits(strata: npt.NDArray[np.int64], fractions: Sequence[Fraction], *, seed: int) -> Integers:
    """Return (n) the number of the split that each item is drawn into, or `NONE`.

    Each stratum gives each split its share, rounded down or up; which are rounded up is chosen so that the splits as
    a whole get theirs, too.

    Args:
        strata: (n) number of each item's stratum; they count in the order of their numbers.
        fractions: Of all items, for each split; at most 1 in sum.
        seed: Any integer.
    """
    drawn = np.full(len(strata), NONE, np.int64)
    order = permutation(len(strata), derive_key(SPLIT_ORDER, seed))
    order = order[np.argsort(strata[order], kind="stable")]
    counts = np.unique(strata, return_counts=True)[1].tolist()
    begin = 0
    for shares in _shares(counts, fractions):
        for split, count in enumerate(shares[:-1]):
            drawn[order[begin : begin + count]] = split
            begin += count
        begin += shares[-1]
    return drawn


def _shares(counts: Sequence[int], fractions: Sequence[Fraction]) -> list[list[int]]:
    """Return for each stratum how many of its items each split gets, and last how many are in none."""
    parts = [*fractions, 1 - sum(fractions)]
    unit = int(np.lcm.reduce([part.denominator for part in parts], dtype=object))
    weights = [int(part * unit) for part in parts]  # whole numbers: nothing is rounded before the end
    owed = [0] * len(parts)  # to each split from the strata so far, in units
    result = []
    for count in counts:
        shares = [count * weight // unit for weight in weights]
        owed = [owes + count * weight - share * unit for owes, weight, share in zip(owed, weights, shares, strict=True)]
        rounded = [part for part, weight in enumerate(weights) if count * weight % unit]
        rounded.sort(key=lambda part: -owed[part])  # of equal ones the first split comes first
        for part in rounded[: count - sum(shares)]:
            shares[part] += 1
            owed[part] -= unit
        result.append(shares)
    return result


def hash_ranges(fractions: Mapping[str, Fraction]) -> dict[str, tuple[int, int]]:
    """Return for each split the half-open range of hashes, divided by 2^32, of the keys that will be in it."""
    ranges: dict[str, tuple[int, int]] = {}
    total = Fraction(0)
    for name, fraction in fractions.items():
        begin, total = total, total + fraction
        ranges[name] = int(begin * HASH_RANGE), int(total * HASH_RANGE)
    return ranges
