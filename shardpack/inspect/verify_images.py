"""Decode every image of a dataset, and parse its JSON: what checksums cannot tell, as it was packed like that."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice

from shardpack.errors import ShardpackError
from shardpack.inspect.problem import Problem, problem_of
from shardpack.read.selection import Selection
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import Progress
from shardpack.runtime.threads import call_all
from shardpack.sources.dataset import list_samples
from shardpack.sources.image_check import check_range
from shardpack.sources.listing import Listing

SAMPLES_PER_TASK = 200
_TASKS_AT_ONCE = 64  # of samples in a bucket: what is listed in advance takes 200 bytes a field

_check = partial(check_range, mode="decode")


def verify_images(samples: Selection, *, jobs: int, progress: Progress) -> Iterator[Problem]:
    """Yield a problem for each sample with an image that cannot be decoded, or a JSON text that cannot be parsed.

    Args:
        samples: The samples.
        jobs: Worker processes for shards on disk; for others, how many samples to read at once.
        progress: Called as progress("decode", samples done, all samples).
    """
    total, done = len(samples), 0
    tasks = _tasks(samples)
    remote = any(store.folder is None for store in samples.cache.stores.tars)
    try:
        with start_workers(1 if remote else jobs) as engine:
            while window := list(islice(tasks, _TASKS_AT_ONCE)):
                if remote:
                    found = list(enumerate(call_all(_check, window, limit=jobs, purpose="decode")))
                else:
                    found = sorted(engine.map(_check, window))
                for number, bad in found:
                    yield from (_undecodable(window[number], sample, reason) for sample, reason in bad)
                done += sum(task.num_samples for task in window)
                progress("decode", done, total)
    except ShardpackError as error:  # an index or a shard that cannot be read at all
        yield problem_of(error, samples.cache.stores.location)


def _tasks(samples: Selection) -> Iterator[Listing]:
    stored = samples.stored()
    while part := list(islice(stored, SAMPLES_PER_TASK)):
        yield list_samples(part, location=samples.cache.stores.location, manifests=[], classes=None)


def _undecodable(listing: Listing, sample: int, reason: str) -> Problem:
    first = listing.payload[int(listing.start[sample])]
    shard = first.path if not isinstance(first, (str, bytes)) else listing.root
    what = f'{reason}; replace the sample, or remove it with "shardpack delete"'
    return Problem("undecodable", shard, what, listing.keys[sample])
