"""How long work tells how far it is: one callable, no display."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # (phase, done, total; 0 where the total is unknown)


def no_progress(phase: str, done: int, total: int) -> None:
    """Ignore progress."""
