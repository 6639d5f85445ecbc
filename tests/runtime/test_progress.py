"""A counter of bytes that threads share."""

from __future__ import annotations

import threading

from shardpack.runtime.progress import ByteProgress, no_progress


def test_every_advance_is_reported_once_and_never_backwards():
    calls = []
    progress = ByteProgress("pack", 8000, lambda *call: calls.append(call))
    threads = [threading.Thread(target=lambda: [progress.advance(1) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [("pack", done, 8000) for done in range(1, 8001)]
    assert progress.done == 8000


def test_what_changes_nothing_is_not_reported():
    calls = []
    progress = ByteProgress("pack", 10, lambda *call: calls.append(call))
    progress.advance(0)
    progress.advance_to(5)
    progress.advance_to(5)
    progress.advance(5)
    assert calls == [("pack", 5, 10), ("pack", 10, 10)]


def test_no_progress_takes_what_progress_takes():
    no_progress("pack", 1, 2)
