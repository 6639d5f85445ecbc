"""How far an iterator is: each has its own, so that one which is still read does not count for a newer one."""

from __future__ import annotations


class Progress:
    """How many samples an iterator has handed out, those before its start included.

    Whoever gives out iterators keeps the progress of the newest, and makes states of that.
    """

    __slots__ = ("taken",)

    def __init__(self, taken: int) -> None:
        self.taken = taken
