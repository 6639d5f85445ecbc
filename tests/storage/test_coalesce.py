"""Few requests, the right bytes: the planner against a reader that counts, and against the rule in plain Python."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.storage.coalesce import MergeLimits, coalesce
from tests.fakes import FakeReader

DATA = random.Random(0).randbytes(400)
ranges = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100)), max_size=30)
limits = st.builds(
    MergeLimits,
    max_gap_bytes=st.sampled_from([0, 1, 10, 1000]),
    max_request_bytes=st.sampled_from([0, 1, 50, 120, 1000]),
)


def plan(wanted, limits):
    starts, lengths = (np.array([pair[i] for pair in wanted], np.int64) for i in (0, 1))
    made = coalesce(starts, lengths, limits=limits)
    requests = list(zip(made.starts.tolist(), made.lengths.tolist(), strict=True))
    return requests, made.owner.tolist()


def by_the_rule(wanted, limits):
    """Return the requests as the docstring has them, one range after the other."""
    requests: list[list[int]] = []
    for start, length in sorted(wanted, key=lambda pair: pair[0]):
        end = start + length
        if requests:
            first, last = requests[-1]
            fits = start - last <= limits.max_gap_bytes and max(end, last) - first <= limits.max_request_bytes
            if end <= last or fits:
                requests[-1][1] = max(end, last)
                continue
        requests.append([start, end])
    return [(start, end - start) for start, end in requests]


@given(ranges, limits)
def test_each_range_lies_inside_its_request(wanted, limits):
    requests, owner = plan(wanted, limits)
    assert len(owner) == len(wanted)
    for (start, length), number in zip(wanted, owner, strict=True):
        request_start, request_length = requests[number]
        assert request_start <= start
        assert start + length <= request_start + request_length
    assert set(owner) == set(range(len(requests)))  # none for nothing


@given(ranges, limits)
def test_limits_are_kept(wanted, limits):
    requests, owner = plan(wanted, limits)
    for number, (start, length) in enumerate(requests):
        inside = sorted(pair for pair, own in zip(wanted, owner, strict=True) if own == number)
        assert length <= limits.max_request_bytes or length == max(size for _, size in inside)
        reach = start
        for begin, size in inside:
            assert begin - reach <= limits.max_gap_bytes
            reach = max(reach, begin + size)
        assert reach == start + length  # nothing is read beyond what is wanted


@given(ranges, limits)
def test_coalesced_reads_equal_single_reads(wanted, limits):
    requests, owner = plan(wanted, limits)
    reader = FakeReader(DATA)
    buffers = reader.get_ranges([start for start, _ in requests], [length for _, length in requests])
    for (start, length), number in zip(wanted, owner, strict=True):
        at = start - requests[number][0]
        assert buffers[number][at : at + length] == DATA[start : start + length]
    assert reader.requests == requests


@given(ranges, limits)
def test_there_are_no_more_requests_than_the_rule_has(wanted, limits):
    requests, _ = plan(wanted, limits)
    assert requests == by_the_rule(wanted, limits)


@given(ranges, limits, st.randoms(use_true_random=False))
def test_the_order_asked_changes_nothing(wanted, limits, rng):
    wanted = [*dict(wanted).items()]  # where two of unlike length start together, the order may decide
    requests, owner = plan(wanted, limits)
    order = list(range(len(wanted)))
    rng.shuffle(order)
    shuffled, shuffled_owner = plan([wanted[i] for i in order], limits)
    assert shuffled == requests
    assert [requests[n] for n in shuffled_owner] == [requests[owner[i]] for i in order]


@pytest.mark.parametrize(
    ("wanted", "requests"),
    [
        ([], []),
        ([(5, 0)], [(5, 0)]),
        ([(0, 10), (10, 10)], [(0, 20)]),
        ([(0, 10), (14, 10)], [(0, 24)]),  # a gap of 4, as much as allowed
        ([(0, 10), (15, 10)], [(0, 10), (15, 10)]),
        ([(20, 10), (0, 10), (10, 10)], [(0, 30)]),
        ([(0, 10)] * 3, [(0, 10)]),
        ([(0, 30), (5, 5), (8, 2)], [(0, 30)]),
        ([(0, 60), (60, 60)], [(0, 60), (60, 60)]),  # 100 together is the most
        ([(0, 40), (40, 60)], [(0, 100)]),
        ([(0, 500)], [(0, 500)]),  # too long to merge, whole all the same
        ([(0, 500), (10, 10), (300, 10)], [(0, 500)]),  # which it holds anyway
        ([(0, 500), (503, 10)], [(0, 500), (503, 10)]),
        ([(0, 500), (490, 20), (511, 5)], [(0, 500), (490, 26)]),
    ],
)
def test_examples(wanted, requests):
    assert plan(wanted, MergeLimits(max_gap_bytes=4, max_request_bytes=100))[0] == requests


def test_far_offsets_do_not_overflow():
    far = (1 << 63) - 200
    requests, owner = plan([(far, 100), (far + 100, 99), (0, 1)], MergeLimits(1000, 1000))
    assert requests == [(0, 1), (far, 199)]
    assert owner == [1, 1, 0]
