"""Run a check over the samples of a listing, in parallel: what it finds bad is left out, or an error."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from shardpack.errors import OnError, SourceError
from shardpack.runtime.engine import Engine
from shardpack.runtime.progress import Progress
from shardpack.sources.listing import Listing
from shardpack.sources.source import Problems

SAMPLES_PER_TASK = 500

Check = Callable[[Listing], list[tuple[int, str]]]  # -> (sample, reason) of the bad ones; pickles


def check_samples(
    listing: Listing,
    problems: Problems,
    check: Check,
    *,
    engine: Engine,
    on_error: OnError,
    progress: Progress,
    samples_per_task: int = SAMPLES_PER_TASK,
) -> Listing:
    """Return the listing without the samples that a check finds bad; these are added to `problems`.

    Raises:
        SourceError: There are `problems` and `on_error` is "raise", or all samples are bad.
    """
    total, step = listing.num_samples, samples_per_task
    starts = range(0, total, step)
    tasks = (listing.slice(first, min(first + step, total)) for first in starts)
    bad: dict[int, str] = {}
    with closing(engine.map(check, tasks)) as results:
        for done, (number, found) in enumerate(results, start=1):
            bad.update({starts[number] + sample: reason for sample, reason in found})
            progress("check", min(done * step, total), total)
    good = problems.reject_samples(listing, bad)
    if on_error == "raise":
        problems.raise_if_any()
    if bad and not good.num_samples:
        name, reason = problems.rejected[-1]
        raise SourceError(f"all {total} samples are bad, such as {name!r}: {reason}; replace them")
    return good
