"""Find names by what they say, such as all that have one base name: 16 bytes a name, where a dict would take 150."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np


def _whole(name: str) -> str:
    return name


class NameIndex:
    """The numbers of names, by a text of each."""

    __slots__ = ("_hashes", "_names", "_numbers", "_text_of")

    def __init__(self, names: Sequence[str], text_of: Callable[[str], str] = _whole) -> None:
        """Hash the texts of all names.

        Args:
            names: The names; kept.
            text_of: Returns the text by which a name is found; by default all of it.
        """
        self._names, self._text_of = names, text_of
        # Hashes only select candidates, so their seed is irrelevant.
        hashes = np.fromiter(map(hash, map(text_of, names)), np.int64, len(names))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._numbers = array("q"), array("q")
        self._hashes.frombytes(hashes[order].tobytes())
        self._numbers.frombytes(order.astype(np.int64).tobytes())

    def find(self, text: str) -> list[int]:
        """Return the numbers of the names with a text, ascending."""
        hashes, wanted = self._hashes, hash(text)
        at = bisect_left(hashes, wanted)
        found = []
        while at < len(hashes) and hashes[at] == wanted:
            number = self._numbers[at]
            if self._text_of(self._names[number]) == text:
                found.append(number)
            at += 1
        return found

    def __contains__(self, text: str) -> bool:
        return bool(self.find(text))
