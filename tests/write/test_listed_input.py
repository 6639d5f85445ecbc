"""A listing as what chunks are cut from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.write.chunk_input import BATCH_BYTES
from shardpack.write.chunk_plan import Growth, plan_chunks
from shardpack.write.listed_input import ListedInput, batch_ranges, evenly_drawn
from tests.fakes import inline_listing
from tests.write.chunk_steps import Grow, listing, recipe

LISTING = listing(100)
INPUT = ListedInput(LISTING)


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_samples_are_drawn_evenly(num_samples, count):
    drawn = evenly_drawn(num_samples, count)
    assert len(drawn) == len(set(drawn.tolist())) == min(num_samples, count)
    if len(drawn):
        assert drawn[0] >= 0
        assert drawn[-1] < num_samples
        steps = np.diff([-1, *drawn.tolist(), num_samples])
        assert max(steps) - min(steps) <= num_samples // len(drawn) + 1


@pytest.mark.parametrize(
    ("num_samples", "stretches", "drawn"), [(3, 1, 3), (8191, 1, 64), (8192, 2, 128), (99_999, 8, 512)]
)
def test_stretches_are_drawn_from_one_by_one(num_samples, stretches, drawn):
    found = ListedInput(inline_listing({f"{number:05d}": {} for number in range(num_samples)}))
    parts = list(found.drawn())
    assert [part.listing.num_samples for _, part in parts] == [8] * (drawn // 8) + [3] * (drawn == 3)
    assert {stretch for stretch, _ in parts} == set(range(stretches))
    for stretch, part in parts:
        assert {int(key) * stretches // num_samples for key in part.listing.keys} == {stretch}


def test_parts_are_the_listing():
    plan = plan_chunks(INPUT, recipe(Grow()), [Growth(1, 1, 1, 1)])
    keys = [key for chunk in range(plan.num_chunks) for key in plan.part(chunk).listing.keys]
    assert keys == list(LISTING.keys)


def test_a_listing_has_a_digest():
    assert INPUT.digest() == ListedInput(listing(100)).digest()
    assert ListedInput(listing(99)).digest() != INPUT.digest()
    assert ListedInput(listing(100, seed=1)).digest() != INPUT.digest()


def test_batches_are_bounded_by_bytes_and_samples():
    sizes = [10, BATCH_BYTES, 10, BATCH_BYTES // 2, BATCH_BYTES // 2, 1, *[0] * 100]
    found = inline_listing({f"{i:03d}": {"bin": bytes(size)} for i, size in enumerate(sizes)})
    assert list(batch_ranges(found)) == [(0, 1), (1, 2), (2, 4), (4, 68), (68, 106)]


def test_compared_samples_are_those_of_their_chunks():
    spans = INPUT.cut([(1, 1)], 20_000, None)
    for chunk, part in INPUT.compared(spans, 4):
        (key,) = part.listing.keys
        assert key in LISTING.keys[slice(*spans[chunk])]
