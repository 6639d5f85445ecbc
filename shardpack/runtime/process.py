"""What a process does for itself: tell objects of a fork, whose child lacks their threads; keep freed memory."""

from __future__ import annotations

import os
import weakref
from functools import cache
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


_KEPT_BYTES = 4 << 20


@cache
def keep_freed_memory() -> None:
    """Let the allocator keep some MB of freed memory for what is made next. Does something the first time alone.

    Otherwise glibc hands memory back as soon as a little of it is free at the end of the heap, and the next large
    object faults it in again, page by page: a third of the time that cutting 110 KB samples from a map takes (local
    stream, 2-core VM, 2026-11-21). Freeing an object that has a map of its own raises glibc's limits: objects up to its
    size come from the heap, of which twice as much stays (mallopt(3), M_MMAP_THRESHOLD and M_TRIM_THRESHOLD).
    """
    bytes(_KEPT_BYTES)
