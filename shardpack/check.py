"""Look at every picture of a listing before it is packed, in parallel."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shardpack.pack.options import Check, OnError
from shardpack.plan.listing import Listing
from shardpack.progress import Progress
from shardpack.sources.check_images import check_range
from shardpack.sources.problems import Problems
from shardpack.workers import WorkerPool

SAMPLES_PER_TASK = 500


def check_listing(
    listing: Listing,
    problems: Problems,
    check: Check,
    *,
    pool: WorkerPool | None,
    on_error: OnError,
    progress: Progress,
) -> Listing:
    """Return the listing without the samples whose pictures are bad; they join the problems.

    Raises:
        SourceError: There are bad ones, and `on_error` is "raise".
    """
    total = listing.num_samples
    starts = range(0, total, SAMPLES_PER_TASK)
    tasks = ((listing.slice(first, min(first + SAMPLES_PER_TASK, total)), check) for first in starts)
    results = _in_order(map(_check, tasks)) if pool is None else pool.map(_check, tasks)
    bad: dict[int, str] = {}
    for done, (number, found) in enumerate(results, start=1):
        bad.update({starts[number] + sample: reason for sample, reason in found})
        progress("check", min(done * SAMPLES_PER_TASK, total), total)
    for sample in sorted(bad):
        problems.reject(listing.keys[sample], bad[sample])
    if not bad:
        return listing
    if on_error == "raise":
        problems.raise_if_any()
    return listing.take(np.array([i for i in range(total) if i not in bad], np.int64))


def _check(task: tuple[Listing, Check]) -> list[tuple[int, str]]:
    return check_range(*task)


def _in_order(results: Iterator[list[tuple[int, str]]]) -> Iterator[tuple[int, list[tuple[int, str]]]]:
    return enumerate(results)
