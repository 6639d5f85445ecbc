"""Find names by what they say, such as all that have one base name: 8 bytes a name, where a dict would take 150."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np

_HALF = (1 << 32) - 1  # the bits of half an entry


def _whole(name: str) -> str:
    return name


class NameIndex:
    """The numbers of names, by a text of each."""

    __slots__ = ("_entries", "_names", "_text_of")

    def __init__(self, names: Sequence[str], text_of: Callable[[str], str] = _whole) -> None:
        """Hash the texts of all names.

        Args:
            names: The names; kept.
            text_of: Returns the text by which a name is found; by default all of it.
        """
        self._names, self._text_of = names, text_of
        # Half of a hash, then the number of the name. Hashes only select candidates, so their seed is irrelevant.
        entries = np.fromiter(map(hash, map(text_of, names)), np.int64, len(names)).view(np.uint64)
        entries <<= np.uint64(32)
        entries |= np.arange(len(names), dtype=np.uint64)
        entries.sort()
        self._entries = array("Q")
        self._entries.frombytes(entries.tobytes())

    def find(self, text: str) -> list[int]:
        """Return the numbers of the names with a text, ascending."""
        entries, wanted = self._entries, hash(text) & _HALF
        at = bisect_left(entries, wanted << 32)
        found = []
        while at < len(entries) and (entry := entries[at]) >> 32 == wanted:
            number = entry & _HALF
            if self._text_of(self._names[number]) == text:
                found.append(number)
            at += 1
        return found

    def __contains__(self, text: str) -> bool:
        return bool(self.find(text))
