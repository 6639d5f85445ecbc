"""Keys of samples that are added to a dataset, and that it has already: an error, or the samples that they replace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from shardpack.edit.base import EditBase
from shardpack.errors import DuplicateKeyError
from shardpack.runtime.arrays import Integers

OnDuplicate = Literal["raise", "replace"]
_SHOWN = 3


class DuplicateKeys:
    """What is done with keys that a dataset has.

    Attributes:
        replaced: Stored positions of the samples that are replaced, ascending.
    """

    def __init__(self, base: EditBase, on_duplicate: OnDuplicate) -> None:
        self._base, self._on_duplicate = base, on_duplicate
        self.replaced: Integers = np.zeros(0, np.int64)
        self._replaced_by: dict[bytes, int] = {}

    def check(self, keys: Sequence[bytes]) -> None:
        """Compare the keys of all samples that are added, all different, with those of the dataset.

        Costs look-ups in the key index in proportion to the keys, and a read of the keys of each shard that has some.

        Raises:
            DuplicateKeyError: The dataset has some of them, and they do not replace its samples.
        """
        numbers, positions = self._base.lookup.match(keys)
        if (visible := self._base.cache.visible) is not None:
            shown = ~np.isin(positions, visible.deleted)
            numbers, positions = numbers[shown], positions[shown]
        if len(positions) and self._on_duplicate == "raise":
            twice = [keys[number].decode("utf-8", "surrogateescape") for number in np.unique(numbers).tolist()]
            more = f" and {len(twice) - _SHOWN:,} more" if len(twice) > _SHOWN else ""
            raise DuplicateKeyError(
                f"{self._base.location!r} has samples with these keys already: "
                f"{', '.join(map(repr, twice[:_SHOWN]))}{more}; replace them with on_duplicate='replace' "
                "(--on-duplicate replace), or give the new samples other keys; nothing was changed"
            )
        order = np.argsort(positions)
        self.replaced = positions[order]
        self._replaced_by = {}
        for number, position in zip(numbers[order].tolist(), self.replaced.tolist(), strict=True):
            self._replaced_by.setdefault(keys[number], position)

    def replaced_of(self, keys: Sequence[bytes]) -> Integers:
        """Return (n) the stored position of the sample that each key replaces, of several the first; -1 for none."""
        return np.array([self._replaced_by.get(key, -1) for key in keys], np.int64)
