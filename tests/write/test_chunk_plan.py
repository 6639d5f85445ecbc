"""Chunks are cut by the plan alone: of samples and options, in integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.splits import split_of, with_splits
from shardpack.write.chunk_plan import (
    ChunkRecipe,
    Growth,
    drawn_samples,
    growth_of,
    growth_record,
    listing_digest,
    plan_chunks,
)
from shardpack.write.pack import in_packing_order
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import sample_bytes
from tests.write.chunk_steps import SMALL, Grow, listing, recipe

LISTING = listing(100)
TAR_BYTES = int(sample_bytes(LISTING).sum())


def grown(times, samples=1.0):
    return Growth(100, TAR_BYTES, int(100 * samples), int(TAR_BYTES * times))


@given(st.integers(0, 10_000), st.integers(1, 100))
def test_samples_are_drawn_evenly(num_samples, count):
    drawn = drawn_samples(num_samples, count)
    assert len(drawn) == len(set(drawn.tolist())) == min(num_samples, count)
    if len(drawn):
        assert drawn[0] >= 0
        assert drawn[-1] < num_samples
        steps = np.diff([-1, *drawn.tolist(), num_samples])
        assert max(steps) - min(steps) <= num_samples // len(drawn) + 1


@pytest.mark.parametrize("times", [0.1, 0.5, 1.0, 3.0])
def test_chunks_would_fill_nine_tenths_of_a_shard(times):
    plan = plan_chunks(LISTING, recipe(Grow()), grown(times))
    lengths = np.add.reduceat(sample_bytes(LISTING), plan.cuts[:-1]) * times
    assert plan.cuts[0] == 0
    assert plan.cuts[-1] == 100
    assert all(
        length <= 0.9 * SMALL or stop - first == 1
        for length, first, stop in zip(lengths, plan.cuts, plan.cuts[1:], strict=False)
    )
    if times < 1:
        assert np.mean(lengths[:-1]) > 0.7 * SMALL


def test_nearly_nothing_left_makes_no_endless_chunk():
    assert plan_chunks(LISTING, recipe(Grow(), max_bytes=2048), grown(0)).num_chunks > 1
    assert plan_chunks(LISTING, recipe(Grow()), Growth()).num_chunks == 100  # nothing was drawn: a sample each


@pytest.mark.parametrize(("samples", "most"), [(1.0, 8), (2.0, 3), (0.5, 14), (0.0, 720)])
def test_a_cap_on_samples_is_aimed_at_too(samples, most):
    plan = plan_chunks(LISTING, recipe(Grow(), max_bytes=1 << 30, max_samples=8), grown(1.0, samples))
    assert max(np.diff(plan.cuts)) == min(most, 100)


def test_parts_are_the_listing():
    plan = plan_chunks(LISTING, recipe(Grow()), grown(1.0))
    keys = [key for chunk in range(plan.num_chunks) for key in plan.part(chunk).keys]
    assert keys == list(LISTING.keys)


def test_digests_tell_chunks_and_recipes_apart():
    ours = recipe(Grow(2))
    plan = plan_chunks(LISTING, ours, grown(1.0))
    others = [
        recipe(Grow(3)),
        recipe(Grow(2), on_error="skip"),
        recipe(Grow(2), max_samples=3),
        ChunkRecipe(ours.application, ours.limits, versions={"pillow": "1"}),
    ]
    digests = {plan.digest(0, other.digest()) for other in (ours, *others)} | {plan.digest(1, ours.digest())}
    assert len(digests) == 6
    assert recipe(Grow(2), timeout=3.0).digest() == ours.digest()  # who fails for it ends the run
    assert recipe(Grow(2), timeout=3.0, on_error="skip").digest() != recipe(Grow(2), on_error="skip").digest()


def test_compression_is_in_the_digest():
    pytest.importorskip("zstandard", reason="zstandard is not installed")
    assert recipe(Grow(), compression=ShardCompression(3)).digest() != recipe(Grow()).digest()


def test_a_listing_has_a_digest():
    assert listing_digest(LISTING) == listing_digest(listing(100))
    assert listing_digest(listing(99)) != listing_digest(LISTING)
    assert listing_digest(listing(100, seed=1)) != listing_digest(LISTING)


def test_growth_adds_up_and_comes_back_from_a_note():
    assert grown(2.0) + Growth() == grown(2.0)
    assert growth_of(growth_record(grown(2.0), "d"), "d") == grown(2.0)


@pytest.mark.parametrize("note", [None, {}, {"plan": "other"}, {"plan": "d"}, {"plan": "d", "before": [1], "after": 3}])
def test_a_note_of_another_plan_or_a_damaged_one_is_none(note):
    assert growth_of(note, "d") is None


def test_no_chunk_has_samples_of_two_splits():
    found = in_packing_order(with_splits(LISTING, ["b", "train", None, "train"] * 25), shuffle_seed=3)
    plan = plan_chunks(found, recipe(Grow()), grown(1.0))
    assert [name.split for name in plan.names] == sorted((n.split for n in plan.names), key=["train", "b", None].index)
    for chunk, name in enumerate(plan.names):
        assert {split_of(plan.part(chunk), sample) for sample in range(plan.part(chunk).num_samples)} == {name.split}
    assert plan.names[0].shard(3, compressed=True) == "train-000000-03.tar.zst"
    assert plan.names[-1].shard(0, compressed=False).startswith("shard-00000")
    other = with_splits(LISTING, ["b", "train", "train", None] * 25)
    assert len({listing_digest(LISTING), listing_digest(with_splits(LISTING, ["a"] * 100)), listing_digest(other)}) == 3
