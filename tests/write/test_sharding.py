"""Plans: caps hold, shards are full, and tars have the planned lengths."""

from __future__ import annotations

import io
import itertools
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.sources.splits import sorted_by_split, split_of, with_splits
from shardpack.write.pack_shard import member_names
from shardpack.write.shard_assembler import Buffer, ShardAssembler
from shardpack.write.sharding import ShardLimits, cut, cut_level, cut_shards, member_bytes, sample_bytes, unit_names
from tests.fakes import inline_listing
from tests.strategies import BOUNDARY_SIZES, payloads, safe_fields, safe_keys

END = len(END_OF_ARCHIVE)
sample_sizes = st.lists(st.integers(1, 40).map(lambda blocks: 512 * blocks), max_size=60)
max_blocks = st.integers(3, 60).map(lambda blocks: 512 * blocks)
max_samples = st.one_of(st.none(), st.integers(1, 8))
few = st.dictionaries(
    safe_keys(max_depth=4, max_size=60), st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3), max_size=6
)


def shards_of(sizes, limits):
    """Return the samples' sizes, shard by shard."""
    listing = inline_listing({f"{i:03d}": {"x": b""} for i in range(len(sizes))})
    cuts = cut_shards(np.array(sizes, np.int64), limits, listing).tolist()
    assert cuts[0] == 0
    assert cuts[-1] == len(sizes)
    return [sizes[first:stop] for first, stop in itertools.pairwise(cuts)]


def by_the_rule(sizes, limits):
    shards: list[list[int]] = []
    for size in sizes:
        fits = shards and sum(shards[-1]) + size + END <= limits.max_bytes
        if fits and len(shards[-1]) != limits.max_samples:
            shards[-1].append(size)
        else:
            shards.append([size])
    return shards


@given(sample_sizes, max_blocks, max_samples)
def test_caps_hold_and_shards_are_full(sizes, max_bytes, most):
    limits = ShardLimits(max_bytes, most, allow_oversized=True)
    shards = shards_of(sizes, limits)
    assert [size for shard in shards for size in shard] == sizes  # each sample in one shard, in order
    assert all(shards)  # none is empty
    for shard in shards:
        assert sum(shard) + END <= max_bytes or len(shard) == 1
        assert most is None or len(shard) <= most
    for shard, following in itertools.pairwise(shards):
        assert sum(shard) + following[0] + END > max_bytes or len(shard) == most
    assert shards == by_the_rule(sizes, limits)


@given(sample_sizes, max_blocks)
def test_what_does_not_fit_is_an_error_unless_allowed(sizes, max_bytes):
    limits = ShardLimits(max_bytes)
    too_large = [i for i, size in enumerate(sizes) if size + END > max_bytes]
    if not too_large:
        assert shards_of(sizes, limits) == by_the_rule(sizes, limits)
        return
    with pytest.raises(SourceError, match=f"^{len(too_large)} sample.* takes {max(sizes)};.*allow_oversized") as caught:
        shards_of(sizes, limits)
    assert sizes[int(caught.value.key)] == max(sizes)


def assembled(listing):
    """Return the tar of a listing, and its index."""
    written = bytearray()
    assembler = ShardAssembler(written.extend, Buffer())

    def fill(views):
        for payload, view in zip(listing.payload, views, strict=True):
            view[:] = payload

    assembler.append(member_names(listing), listing.size, fill)
    index = assembler.finish(listing.keys, listing.start, listing.field_code, listing.fields, listing.size)
    return bytes(written), index


@given(few)
def test_planned_sizes_are_what_is_written(samples):
    listing = inline_listing(samples)
    planned = sample_bytes(listing)
    assert len(planned) == listing.num_samples
    if not samples:
        return
    written, index = assembled(listing)
    assert int(planned.sum()) + END == len(written)
    starts = np.array(
        [int((index.data_offset - index.header_bytes)[index.members(row)].min()) for row in range(len(planned))]
    )
    assert np.diff([*starts.tolist(), index.end_of_data]).tolist() == planned.tolist()
    with tarfile.open(fileobj=io.BytesIO(written)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
    assert found == {f"{key}.{field}": payload for key, fields in samples.items() for field, payload in fields.items()}


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024])
@pytest.mark.parametrize("key_length", [1, 96, 97, 250, 600])
def test_boundary_sizes(size, key_length):
    listing = inline_listing({"k" * key_length: {"jpg": bytes(size)}})
    written, _ = assembled(listing)
    assert member_bytes(listing).tolist() == [len(written) - END]
    pax_blocks = 2 if key_length > 96 else 0
    if key_length < 500:
        assert len(written) - END == 512 * (1 + pax_blocks + -(-size // 512))


def test_a_prefix_saves_the_pax_header():
    within, beyond = "d" * 90 + "/" + "k" * 90, "d" * 160 + "/" + "k" * 90
    assert member_bytes(inline_listing({within: {"jpg": b""}})).tolist() == [512]
    assert member_bytes(inline_listing({beyond: {"jpg": b""}})).tolist() == [3 * 512]


def test_huge_members_are_counted_with_their_pax_header():
    listing = inline_listing({f"{i}": {"bin": b""} for i in range(len(BOUNDARY_SIZES))})
    listing.size[:] = BOUNDARY_SIZES
    extra = [(2 if size > 8**11 - 1 else 0) * 512 for size in BOUNDARY_SIZES]
    expected = [512 + -(-size // 512) * 512 + more for size, more in zip(BOUNDARY_SIZES, extra, strict=True)]
    assert member_bytes(listing).tolist() == expected


def test_sums_do_not_overflow_where_shards_do_not():
    sizes = [2**60] * 6
    assert shards_of(sizes, ShardLimits(2**61 + 4096)) == [sizes[:2]] * 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_bytes": 1535}, "max_shard_bytes is 1535, less than an empty member takes"),
        ({"max_bytes": -1}, "max_shard_bytes"),
        ({"max_samples": 0}, "max_shard_samples is 0, expected an integer of at least 1"),
        ({"max_samples": 2.5}, "max_shard_samples is 2.5"),
    ],
)
def test_limits_are_checked(options, says):
    with pytest.raises(OptionError, match=says):
        ShardLimits(**options)


def test_the_smallest_limit_takes_empty_members():
    limits = ShardLimits(1536)
    assert shards_of([512, 512], limits) == [[512], [512]]


@given(st.lists(st.sampled_from(["train", "val", "x", None]), max_size=40), max_samples)
def test_no_shard_holds_samples_of_two_splits(splits, most):
    listing = inline_listing({f"{i:03d}": {"x": b""} for i in range(len(splits))})
    listing = sorted_by_split(with_splits(listing, splits))
    limits = ShardLimits(3 * 512 + END, most)
    cuts = cut_shards(np.full(len(splits), 512), limits, listing)
    names = unit_names(listing, cuts)
    for name, (first, stop) in zip(names, itertools.pairwise(cuts.tolist()), strict=True):
        assert {split_of(listing, sample) for sample in range(first, stop)} == {name.split}
        assert 0 < stop - first <= min(3, most or 3)
    for split in set(splits):
        shards = -(-splits.count(split) // min(3, most or 3))
        assert [name.number for name in names if name.split == split] == list(range(shards))


@given(sample_sizes, max_blocks, st.integers(1, 8), st.data())
def test_level_runs_are_as_many_and_the_longest_is_as_short_as_can_be(sizes, max_bytes, most, data):
    count = len(sizes)
    borders = sorted({*data.draw(st.lists(st.integers(0, count), max_size=3)), count} - {0})
    full, level = (how(np.array(sizes, np.int64), max_bytes, most, borders).tolist() for how in (cut, cut_level))
    assert len(level) == len(full)
    assert {0, *borders} <= {*level}
    for first, stop in itertools.pairwise([0, *borders]):
        runs = [sum(sizes[a:b]) for a, b in itertools.pairwise(level) if first <= a < stop]
        assert all(0 < b - a <= most for a, b in itertools.pairwise(level))
        longest = max(runs)
        shorter = cut(np.array(sizes[first:stop], np.int64), longest - 512, most, [stop - first])
        assert len(shorter) - 1 > len(runs) or longest == max(sizes[first:stop])
