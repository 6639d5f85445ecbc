"""From the keys that an edit names to the visible samples that have them: all, or an error that says which are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shardpack.edit.base import EditBase
from shardpack.errors import DuplicateKeyError, InvalidKeyError, UnknownKeyError
from shardpack.format.naming import key_bytes, key_text
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress

SHOWN = 3  # keys that an error names


class KeyFinder:
    """Finds keys, many at a time, and knows at the end which were not there.

    Args:
        base: The dataset.
        what: What names the keys, for errors: "labels.csv".
        total: How many keys there will be.
        progress: Called with the phase "find".
    """

    def __init__(self, base: EditBase, *, what: str, total: int, progress: Progress) -> None:
        self._base, self._what, self._total, self._progress = base, what, total, progress
        self._deleted = deleted_positions(base)
        self._done = self._num_unknown = 0
        self._unknown: list[bytes] = []

    def find(self, keys: Sequence[bytes]) -> Integers:
        """Return (n) the stored position of the visible sample that has each key; -1 for a key that is missing.

        Raises:
            DuplicateKeyError: Several samples have one of the keys.
        """
        numbers, positions = self._base.lookup.match(keys, progress=self._advance)
        if len(self._deleted):
            kept = ~np.isin(positions, self._deleted)
            numbers, positions = numbers[kept], positions[kept]
        found = np.full(len(keys), -1, np.int64)
        found[numbers] = positions
        unknown = np.flatnonzero(found < 0).tolist()
        self._num_unknown += len(unknown)
        self._unknown += [keys[number] for number in unknown[:SHOWN]]
        if len(numbers) > len(keys) - len(unknown):
            twice = int(numbers[np.flatnonzero(np.bincount(numbers)[numbers] > 1)[0]])
            raise DuplicateKeyError(
                f"{self._what}: several samples of the dataset have this key, so which is meant is unknown; pack the "
                "dataset again with keys that differ",
                key=key_text(keys[twice]),
            )
        return found

    def _advance(self, count: int) -> None:
        self._done += count
        self._progress("find", min(self._done, self._total), self._total)

    def finish(self) -> None:
        """Raise if keys were not found.

        Raises:
            UnknownKeyError: No visible sample has one of the keys; names the first few, and counts all.
        """
        if self._num_unknown:
            shown = ", ".join(repr(key_text(key)) for key in self._unknown[:SHOWN])
            more = f", and {self._num_unknown - SHOWN:,} more" if self._num_unknown > SHOWN else ""
            raise UnknownKeyError(
                f"{self._what}: {self._num_unknown:,} of {self._total:,} keys are not in the dataset: {shown}{more}; "
                'list its keys with "shardpack ls"; nothing was changed'
            )


def find_keys(base: EditBase, keys: Sequence[str], *, what: str, progress: Progress) -> Integers:
    """Return (n) the stored position of the visible sample that has each key; the keys differ.

    Raises:
        UnknownKeyError, DuplicateKeyError: No sample has one of the keys, or several have.
        InvalidKeyError: A key is not a text that a key can be.
    """
    finder = KeyFinder(base, what=what, total=len(keys), progress=progress)
    found = finder.find([_raw(key, what) for key in keys])
    finder.finish()
    return found


def deleted_positions(base: EditBase) -> Integers:
    """Return the stored positions of the deleted samples, ascending."""
    visible = base.cache.visible
    return np.zeros(0, np.int64) if visible is None else visible.deleted


def visible_positions(base: EditBase) -> Integers:
    """Return the stored positions of the samples that are not deleted, ascending."""
    return np.delete(np.arange(base.manifest.num_samples), deleted_positions(base))


def _raw(key: str, what: str) -> bytes:
    try:
        return key_bytes(key)
    except UnicodeEncodeError as error:
        raise InvalidKeyError(f"{what}: a key holds half of a surrogate pair; correct it", key=repr(key)) from error
