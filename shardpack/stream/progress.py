"""How far an iterator is: each has its own, so that an older one still in use does not affect a newer one."""

from __future__ import annotations


class Progress:
    """The number of samples that an iterator has handed out, including those before its start.

    The object that makes iterators keeps the progress of the newest one, and makes states from it.
    """

    __slots__ = ("taken",)

    def __init__(self, taken: int) -> None:
        self.taken = taken
