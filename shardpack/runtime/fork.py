"""Tell objects that they are in a forked child, where a thread that held their lock no longer exists."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class ForkAware(Protocol):
    """An object whose locks, threads or descriptors must not be used in a forked child."""

    def after_fork(self) -> None:
        """Replace or release what belongs to the parent process."""
        ...


_alive: weakref.WeakSet[ForkAware] = weakref.WeakSet()


def watch_forks(owner: ForkAware) -> None:
    """Call `owner.after_fork()` in every forked child, for as long as the owner is alive."""
    _alive.add(owner)


def _after_fork() -> None:
    for owner in list(_alive):
        owner.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
