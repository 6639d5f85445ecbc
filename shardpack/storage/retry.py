"""When to try again: pure decisions, no clock and no sleep of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random

from shardpack.storage.clients.client import RequestError

BUSY_FACTOR = 5  # a server that asks to slow down is given more time, whether it says how much or not
PROGRESS_BYTES = 1 << 20  # that many new bytes, and a request counts as a fresh one


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How patient a store is.

    Attributes:
        max_attempts: Tries of one request that bring nothing new.
        max_seconds: From the first try to the start of the last.
        first_delay_seconds, max_delay_seconds: The pause doubles from one to the other; each is
            drawn between half of it and all of it, so that many clients do not come back at once.
    """

    max_attempts: int = 6
    max_seconds: float = 120.0
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 15.0


@dataclass(slots=True)
class Retries:
    """The tries of one request so far."""

    limits: RetryLimits
    draw: Callable[[], float] = random
    failures: int = 0  # in all
    _fruitless: int = field(default=0, init=False)

    def pause(self, error: RequestError, *, progress: int, elapsed_seconds: float) -> float | None:
        """Return how many seconds to wait before the next try; None to give up.

        Args:
            error: What the last try ended with.
            progress: Bytes that it brought.
            elapsed_seconds: Since the first try, or the last one that brought much.
        """
        self.failures += 1
        self._fruitless = 1 if progress >= PROGRESS_BYTES else self._fruitless + 1
        if error.kind not in ("busy", "failed") or self._fruitless >= self.limits.max_attempts:
            return None
        first = self.limits.first_delay_seconds * (BUSY_FACTOR if error.kind == "busy" else 1)
        delay = min(self.limits.max_delay_seconds, first * 2 ** (self._fruitless - 1))
        delay *= 0.5 + self.draw() / 2
        if error.retry_after_seconds is not None:
            delay += error.retry_after_seconds  # after, not at: others got the same answer
        return delay if elapsed_seconds + delay <= self.limits.max_seconds else None
