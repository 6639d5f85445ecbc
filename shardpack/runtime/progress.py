"""Progress of long work: a callable that any display can provide, and a counter for many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (phase, done, total); a total of 0 is unknown


Announce = Callable[[str], None]  # called with a line that says what a long work is about to do
Advance = Callable[[int], None]  # called with what was done since the previous call, mostly bytes


def no_advance(num_bytes: int) -> None:
    """Ignore what was done."""


def no_announcement(line: str) -> None:
    """Ignore what is said."""


def no_progress(phase: str, done: int, total: int) -> None:
    """Ignore progress."""


class ByteProgress:
    """Counts the bytes done in one phase and reports them to a callback. Safe in threads: one callback at a time."""

    def __init__(self, phase: str, total: int, progress: Progress) -> None:
        self._phase, self._total, self._progress = phase, total, progress
        self._lock = threading.Lock()
        self.done = 0

    def advance(self, num_bytes: int) -> None:
        """Add to the number of bytes done."""
        with self._lock:
            self._report(self.done + num_bytes)

    def advance_to(self, done: int) -> None:
        """Set the number of bytes done, for example after skipping some."""
        with self._lock:
            self._report(done)

    def _report(self, done: int) -> None:
        if done != self.done:
            self.done = done
            self._progress(self._phase, done, self._total)
