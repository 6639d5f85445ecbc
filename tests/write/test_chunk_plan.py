"""Chunks are cut by the plan alone: of samples and options, in integers."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.sources.splits import split_of, with_splits
from shardpack.write.chunk_plan import (
    ChunkRecipe,
    Growth,
    growth_record,
    growths_of,
    plan_chunks,
)
from shardpack.write.listed_input import ListedInput
from shardpack.write.pack_listed import in_packing_order
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import sample_bytes
from tests.write.chunk_steps import SMALL, Grow, listing, recipe

LISTING = listing(100)
INPUT = ListedInput(LISTING)
TAR_BYTES = int(sample_bytes(LISTING).sum())


def grown(times, samples=1.0):
    return [Growth(100, TAR_BYTES, int(100 * samples), int(TAR_BYTES * times))]


@pytest.mark.parametrize("times", [0.1, 0.5, 1.0, 3.0])
def test_chunks_are_level_and_fill_nine_tenths_of_a_shard_at_most(times):
    plan = plan_chunks(INPUT, recipe(Grow()), grown(times))
    starts = [first for first, _ in plan.spans]
    lengths = np.add.reduceat(sample_bytes(LISTING), starts) * times
    assert [*starts, 100] == [0, *(stop for _, stop in plan.spans)]
    assert all(
        length <= 0.9 * SMALL or stop - first == 1 for length, (first, stop) in zip(lengths, plan.spans, strict=True)
    )
    if times < 1:  # as few chunks as can be, and level
        largest = times * max(sample_bytes(LISTING))
        assert len(lengths) <= -(-lengths.sum() // (0.9 * SMALL - largest))
        assert max(lengths) - min(lengths) <= 2 * largest


def test_nearly_nothing_left_makes_no_endless_chunk():
    assert plan_chunks(INPUT, recipe(Grow(), max_bytes=2048), grown(0)).num_chunks > 1


@pytest.mark.parametrize(("samples", "most"), [(1.0, 8), (2.0, 3), (0.5, 14), (0.0, 720)])
def test_a_cap_on_samples_is_aimed_at_too(samples, most):
    plan = plan_chunks(INPUT, recipe(Grow(), max_bytes=1 << 30, max_samples=8), grown(1.0, samples))
    assert max(stop - first for first, stop in plan.spans) == min(most, 100)


def test_digests_tell_chunks_and_recipes_apart():
    ours = recipe(Grow(2))
    plan = plan_chunks(INPUT, ours, grown(1.0))
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


def test_growth_adds_up_and_comes_back_from_a_note():
    one, other = grown(2.0)[0], Growth(1, 2, 3, 4)
    assert one + Growth() == one
    assert other + other == Growth(2, 4, 6, 8)
    assert growths_of(growth_record([one, other], "d"), "d") == [one, other]


@pytest.mark.parametrize(
    ("growth", "ratio"),
    [
        (Growth(1, 100, 1, 250), (250, 100)),
        (Growth(1, 2560, 0, 0), (10, 2560)),
        (Growth(1, 0, 0, 0), (1, 1)),
        (Growth(1, 3 << 40, 1, 1 << 40), (1 << 18, 3 << 18)),
    ],
)
def test_ratios_are_of_small_integers(growth, ratio):
    assert growth.ratio == ratio


def test_each_stretch_is_cut_by_its_own_growth():
    """As where classes follow one another, and the images of some are larger."""
    few, many = Growth(50, TAR_BYTES // 2, 50, TAR_BYTES // 8), Growth(50, TAR_BYTES // 2, 50, TAR_BYTES)
    plan = plan_chunks(INPUT, recipe(Grow()), [few, many])
    sizes = sample_bytes(LISTING) * np.repeat([0.25, 2], 50)
    lengths = [int(sizes[first:stop].sum()) for first, stop in plan.spans]
    assert all(length <= 0.9 * SMALL for length in lengths)
    assert plan.num_chunks <= -(-sizes.sum() // (0.9 * SMALL - max(sizes)))
    assert len(plan_chunks(INPUT, recipe(Grow()), [few + many]).spans) < plan.num_chunks


@pytest.mark.parametrize("note", [None, {}, {"plan": "other"}, {"plan": "d"}, {"plan": "d", "before": [1], "after": 3}])
def test_a_note_of_another_plan_or_a_damaged_one_is_none(note):
    assert growths_of(note, "d") is None


def test_no_chunk_has_samples_of_two_splits():
    found = in_packing_order(with_splits(LISTING, ["b", "train", None, "train"] * 25), shuffle_seed=3)
    plan = plan_chunks(ListedInput(found), recipe(Grow()), grown(1.0))
    assert [name.split for name in plan.names] == sorted((n.split for n in plan.names), key=["train", "b", None].index)
    for chunk, name in enumerate(plan.names):
        part = plan.part(chunk).listing
        assert {split_of(part, sample) for sample in range(part.num_samples)} == {name.split}
    assert plan.names[0].shard(3, compressed=True) == "train-000000-03.tar.zst"
    assert plan.names[-1].shard(0, compressed=False).startswith("shard-00000")
    others = with_splits(LISTING, ["b", "train", "train", None] * 25), with_splits(LISTING, ["a"] * 100)
    assert len({INPUT.digest(), *(ListedInput(other).digest() for other in others)}) == 3
