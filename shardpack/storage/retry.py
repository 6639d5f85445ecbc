"""How long to wait before the next attempt at a request: pure decisions.

The loop that waits is in `session.py`, as is the backoff that all requests of a store share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import random

from shardpack.storage.clients.client import RequestError

BUSY_FACTOR = 5  # a server that asks to slow down gets more time, whether or not it says how much
PROGRESS_BYTES = 1 << 20  # an attempt that brought so many bytes counts as the first one


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How often and how long a store tries.

    Attributes:
        max_attempts: Attempts at one request without progress.
        max_seconds: Time from the first attempt to the start of the last one.
        first_delay_seconds, max_delay_seconds: Delays double from the first to the maximum. Each is multiplied by a
            random number between 0.5 and 1, so that many clients do not return at the same moment.
    """

    max_attempts: int = 6
    max_seconds: float = 120.0
    first_delay_seconds: float = 0.1
    max_delay_seconds: float = 15.0


@dataclass(slots=True)
class Retries:
    """The failed attempts at one request so far.

    Attributes:
        limits: When to give up.
        draw: Returns a random number, 0 <= number < 1.
        failures: Number of failed attempts.
    """

    limits: RetryLimits
    draw: Callable[[], float] = random
    failures: int = 0
    _without_progress: int = field(default=0, init=False)

    def next_delay(self, error: RequestError, *, progress: int, elapsed_seconds: float) -> float | None:
        """Count a failed attempt, and return the seconds to wait before the next one, or None to give up.

        Args:
            error: How the attempt ended.
            progress: Bytes that it brought.
            elapsed_seconds: Time since the first attempt, or since the last one that brought `PROGRESS_BYTES`.
        """
        self.failures += 1
        self._without_progress = 1 if progress >= PROGRESS_BYTES else self._without_progress + 1
        if error.kind not in ("busy", "failed") or self._without_progress >= self.limits.max_attempts:
            return None
        first = self.limits.first_delay_seconds * (BUSY_FACTOR if error.kind == "busy" else 1)
        delay = min(self.limits.max_delay_seconds, first * 2 ** (self._without_progress - 1))
        delay *= 0.5 + self.draw() / 2
        if error.retry_after_seconds is not None:
            delay += error.retry_after_seconds  # added: other clients were told the same time
        return delay if elapsed_seconds + delay <= self.limits.max_seconds else None
