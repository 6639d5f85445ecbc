"""Look at every picture of a listing before it is packed, in parallel."""

from __future__ import annotations

from contextlib import closing

from shardpack.errors import OnError, SourceError
from shardpack.runtime.engine import Engine
from shardpack.runtime.progress import Progress
from shardpack.sources.image_check import check_range
from shardpack.sources.listing import Listing
from shardpack.sources.rejects import Problems
from shardpack.write.report import Check

SAMPLES_PER_TASK = 500


def check_listing(
    listing: Listing,
    problems: Problems,
    check: Check,
    *,
    engine: Engine,
    on_error: OnError,
    progress: Progress,
) -> Listing:
    """Return the listing without the samples whose pictures or JSON files are bad; they join the problems.

    Raises:
        SourceError: There are bad ones and `on_error` is "raise", or there are no others.
    """
    total = listing.num_samples
    starts = range(0, total, SAMPLES_PER_TASK)
    tasks = ((listing.slice(first, min(first + SAMPLES_PER_TASK, total)), check) for first in starts)
    bad: dict[int, str] = {}
    with closing(engine.map(_check, tasks)) as results:
        for done, (number, found) in enumerate(results, start=1):
            bad.update({starts[number] + sample: reason for sample, reason in found})
            progress("check", min(done * SAMPLES_PER_TASK, total), total)
    good = problems.reject_samples(listing, bad)
    if bad and on_error == "raise":
        problems.raise_if_any()
    if bad and not good.num_samples:
        name, reason = problems.rejected[-1]
        raise SourceError(f"none of {total} samples is good, such as {name!r}: {reason}; mend them")
    return good


def _check(task: tuple[Listing, Check]) -> list[tuple[int, str]]:
    return check_range(*task)
