"""Whoever gives out iterators knows how far the newest is, whatever is read from older ones meanwhile."""

from __future__ import annotations

from functools import partial

import pytest

import shardpack
from shardpack.stream.reader import Taken
from shardpack.stream.worker_shares import WorkerShares
from tests.read.datasets import CountingStore, numbered, packed

STREAM = partial(shardpack.open(CountingStore(packed(numbered(20)))).stream, batch_size=4)


def no_worker():
    return None


@pytest.mark.parametrize(
    ("make", "each"),
    [
        (STREAM, 1),
        (lambda: STREAM().loader(threads=1), 4),
        (lambda: WorkerShares(STREAM, no_worker), 1),
    ],
    ids=["stream", "loader", "worker_shares"],
)
def test_an_older_iterator_does_not_count(make, each):
    given = make()
    begin = given.samples if isinstance(given, WorkerShares) else given.__iter__
    older = begin()
    next(older)
    newer = begin()
    assert given.state_dict()["rank_samples"] == 0
    for _ in range(3):
        next(older)
    assert given.state_dict()["rank_samples"] == 0
    next(newer)
    next(older)
    assert given.state_dict()["rank_samples"] == each
    given.set_epoch(1)
    next(newer)
    assert given.state_dict()["rank_samples"] == 0
    assert given.state_dict()["epoch"] == 1
    for iterator in (older, newer):
        iterator.close()


def test_progress_counts_what_was_before():
    assert Taken(7).taken == 7
