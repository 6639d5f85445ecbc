"""Payloads cut out of buffers: the same fields, whatever way they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.read.payload import cut_field, cut_sample, cut_samples
from shardpack.read.sample import Sample


@given(st.lists(st.lists(st.binary(max_size=9), min_size=3, max_size=3), max_size=8), st.integers(1, 3))
def test_many_at_once_are_those_one_by_one(payloads, width):
    fields = ("bin", "jpg", "json")[:width]
    buffers = [b"".join(row[:width]) for row in payloads]
    ends = [[sum(map(len, row[: column + 1])) for column in range(width)] for row in payloads]
    bounds = []
    for column in range(width):
        bounds.append([row[column - 1] if column else 0 for row in ends])
        bounds.append([row[column] for row in ends])
    positions = range(5, 5 + len(payloads))
    keys = [b"k%d" % i for i in positions]
    found = list(cut_samples(fields, buffers, bounds, positions, keys))
    assert [dict(sample) for sample in found] == [dict(zip(fields, row, strict=False)) for row in payloads]
    assert [(sample.position, sample.key) for sample in found] == [(i, f"k{i}") for i in positions]
    for at, row in enumerate(ends):
        sample = Sample()
        cut_sample(buffers[at], fields, [0, *row[:-1]], row, sample)
        assert sample == found[at]


def test_samples_are_cut_when_they_are_asked_for():
    samples = cut_samples(("a",), [b"12", None], [[0, 0], [1, 1]], [0, 1], [b"x", b"y"])
    assert next(samples)["a"] == b"1"
    with pytest.raises(TypeError):
        next(samples)


def test_the_whole_of_bytes_is_not_copied():
    data = b"all of it" * 100
    assert cut_field(data, 0, len(data)) is data
