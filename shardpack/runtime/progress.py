"""How far work has come: one callable that any display may be, and a counter that threads share."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (phase, done, total; 0 where the total is unknown)


def no_progress(phase: str, done: int, total: int) -> None:
    """Ignore progress."""


class ByteProgress:
    """How many bytes of a phase are done, reported to a callback. Safe in threads: one call of it at a time."""

    def __init__(self, phase: str, total: int, progress: Progress) -> None:
        self._phase, self._total, self._progress = phase, total, progress
        self._lock = threading.Lock()
        self.done = 0

    def advance(self, num_bytes: int) -> None:
        """Add bytes that are done."""
        with self._lock:
            self._report(self.done + num_bytes)

    def advance_to(self, done: int) -> None:
        """Set how many are done in all, where some were passed over."""
        with self._lock:
            self._report(done)

    def _report(self, done: int) -> None:
        if done != self.done:
            self.done = done
            self._progress(self._phase, done, self._total)
