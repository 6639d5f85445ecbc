"""When to try again: the decisions alone."""

from __future__ import annotations

import pytest

from shardpack.storage.clients.client import RequestError
from shardpack.storage.retry import BUSY_FACTOR, PROGRESS_BYTES, Retries, RetryLimits


def failing(kind="failed", **options):
    return RequestError(kind, "x", **options)


def test_pauses_double_up_to_a_limit_and_are_drawn():
    limits = RetryLimits(max_attempts=20, max_seconds=1e9, first_delay_seconds=1, max_delay_seconds=10)
    least, most = (Retries(limits, draw=lambda share=share: share) for share in (0.0, 1.0))
    assert [least.next_delay(failing(), progress=0, elapsed_seconds=0) for _ in range(6)] == [0.5, 1, 2, 4, 5, 5]
    assert [most.next_delay(failing(), progress=0, elapsed_seconds=0) for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    busy = Retries(limits, draw=lambda: 1.0)
    assert busy.next_delay(failing("busy"), progress=0, elapsed_seconds=0) == BUSY_FACTOR


def test_retry_after_comes_on_top():
    retries = Retries(RetryLimits(), draw=lambda: 1.0)
    assert retries.next_delay(failing("busy", retry_after_seconds=7), progress=0, elapsed_seconds=0) > 7
    busy = failing("busy", retry_after_seconds=7)
    assert Retries(RetryLimits(max_seconds=5)).next_delay(busy, progress=0, elapsed_seconds=0) is None


def test_attempts_end_but_progress_counts_as_a_fresh_start():
    retries = Retries(RetryLimits(max_attempts=3, max_seconds=1e9))
    pauses = [retries.next_delay(failing(), progress=n, elapsed_seconds=0) for n in (0, 0, PROGRESS_BYTES, 0, 10)]
    assert [pause is None for pause in pauses] == [False, False, False, False, True]
    assert retries.failures == 5


@pytest.mark.parametrize("kind", ["missing", "denied", "changed", "beyond", "refused"])
def test_what_will_not_go_away_is_not_tried_again(kind):
    assert Retries(RetryLimits()).next_delay(failing(kind), progress=0, elapsed_seconds=0) is None
