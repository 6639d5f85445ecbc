"""A value that takes long to make, kept for the next one who asks for the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from shardpack.runtime.process import watch_forks

Value = TypeVar("Value")


class Latest(Generic[Value]):
    """The value of the name that was asked for last. Safe in threads, of which one makes it, and after fork.

    Owns the value until another name is asked for; those who got it may keep it longer.
    """

    def __init__(self) -> None:
        self._kept: tuple[str, Value] | None = None
        self.after_fork()
        watch_forks(self)

    def after_fork(self) -> None:
        """Replace the lock, which a thread of the parent may have held."""
        self._making = threading.Lock()

    def get(self, name: str, make: Callable[[], Value]) -> Value:
        """Return the value of a name, made if another one is kept. What `make` raises is raised, and nothing kept."""
        with self._making:
            kept = self._kept
            if kept is None or kept[0] != name:
                self._kept = None  # its memory may be needed
                kept = self._kept = name, make()
            return kept[1]
