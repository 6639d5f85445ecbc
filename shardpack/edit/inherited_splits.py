"""The named splits of samples that are added: their own, or else those of the samples that they replace."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shardpack.format.splits import NO_SPLIT, Splits
from shardpack.runtime.arrays import Integers


def extended_splits(old: Splits | None, new: Splits, *, first: int) -> Splits:
    """Return the splits of a dataset with those of samples that follow from the stored position `first` on."""
    none = np.zeros(0, np.int64)
    return (old or Splits((), none, none, none.astype(np.uint16))).extended(first, new)


def inherited_splits(old: Splits, new: Splits | None, replaced: Integers) -> Splits | None:
    """Return the splits of new samples, where those in none are in that of the sample that they replace.

    None if no new sample is in a split.

    Args:
        old: Splits of the dataset.
        new: Splits of the new samples, the first of which is at position 0; None if they are in none.
        replaced: (n) stored position of the sample that each replaces; negative where it replaces none.
    """
    names = [*(() if new is None else new.names), *old.names]
    numbers = _or_negative(_own_numbers(new, len(replaced)))
    heirs = _heirs(new, replaced)
    kept = _or_negative(old.numbers(replaced[heirs]))
    numbers[heirs] = np.where(kept < 0, -1, kept + len(names) - len(old.names))
    return Splits.of_numbers(names, numbers) if (numbers >= 0).any() else None


def count_drawn(old: Splits, new: Splits | None, replaced: Integers, hashes: npt.NDArray[np.uint64]) -> int:
    """Return how many new samples fall into a split by the hash of their key, though what they replace was in none.

    A sample that was appended itself does not count: it has fallen as its successor does.

    Args:
        old, new, replaced: As for `inherited_splits`.
        hashes: (n) hashes of the keys of the new samples.
    """
    if old.appended is None:
        return 0
    heirs = _heirs(new, replaced)
    of_first = replaced[heirs] < old.appended.of_samples
    drawn = heirs[of_first & (old.numbers(replaced[heirs]) == NO_SPLIT)]
    return int(np.count_nonzero(old.numbers_of_hashes(hashes[drawn]) != NO_SPLIT))


def _own_numbers(new: Splits | None, count: int) -> npt.NDArray[np.uint16]:
    return np.full(count, NO_SPLIT, np.uint16) if new is None else new.numbers(np.arange(count))


def _heirs(new: Splits | None, replaced: Integers) -> Integers:
    """Return which new samples replace another one, and are in no split of their own."""
    return np.flatnonzero((replaced >= 0) & (_own_numbers(new, len(replaced)) == NO_SPLIT))


def _or_negative(numbers: npt.NDArray[np.uint16]) -> Integers:
    """Return numbers of splits, and -1 for `NO_SPLIT`."""
    return np.where(numbers == NO_SPLIT, -1, numbers.astype(np.int64))
