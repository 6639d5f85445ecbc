"""Taking, slicing and building listings keeps the columns of each sample together."""

from __future__ import annotations

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.sources.listing import Listing, sorted_by_key, without
from tests.fakes import inline_listing, make_listing
from tests.sources.trees import listing_of, samples_of

members = st.dictionaries(
    st.sampled_from(["jpg", "json", "seg.png", "cls"]),
    st.tuples(st.one_of(st.text(max_size=3), st.binary(max_size=3)), st.integers(0, 2**62), st.integers(0, 2**62)),
    min_size=1,
)
datasets = st.dictionaries(st.text(max_size=3), members, max_size=6)
names = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.sets(st.sampled_from(["jpg", "json", "seg.png"]), min_size=1), max_size=6
)


def build(dataset):
    samples = {key: [(field, *member) for field, member in fields.items()] for key, fields in dataset.items()}
    return make_listing("/root", samples, classes=("a", "b"), by_class=True)


def unpack(listing):
    """Return the samples as plain values, in order, checking that fields ascend."""
    samples = []
    for i, key in enumerate(listing.keys):
        span = range(int(listing.start[i]), int(listing.start[i + 1]))
        fields = [listing.fields[listing.field_code[m]] for m in span]
        assert fields == sorted(fields)
        values = [(listing.payload[m], int(listing.size[m]), int(listing.mtime_ns[m])) for m in span]
        samples.append((key, dict(zip(fields, values, strict=True))))
    assert listing.start[0] == 0
    assert listing.start[-1] == len(listing.payload)
    return samples


@given(datasets)
def test_built_as_given_and_ascending(dataset):
    listing = build(dataset)
    assert unpack(listing) == sorted(dataset.items())
    assert listing.num_samples == len(dataset)
    assert listing.fields == tuple(sorted({field for fields in dataset.values() for field in fields}))
    counts = {field: sum(field in fields for fields in dataset.values()) for field in listing.fields}
    assert listing.samples_per_field() == counts
    assert (listing.classes, listing.by_class, listing.root) == (("a", "b"), True, "/root")


@given(datasets, st.data())
def test_taking_is_indexing(dataset, data):
    listing = build(dataset)
    samples = unpack(listing)
    order = data.draw(st.permutations(range(len(samples))))[: data.draw(st.integers(0, len(samples)))]
    taken = listing.take(np.array(order, np.int64))
    assert unpack(taken) == [samples[i] for i in order]
    assert taken.fields == listing.fields
    again = data.draw(st.permutations(range(len(order))))
    assert unpack(taken.take(np.array(again, np.int64))) == [samples[order[i]] for i in again]


@given(datasets, st.data())
def test_slices_in_a_row_are_the_whole(dataset, data):
    listing = build(dataset)
    cuts = sorted(data.draw(st.lists(st.integers(0, listing.num_samples), max_size=3)))
    edges = [0, *cuts, listing.num_samples]
    parts = [listing.slice(first, stop) for first, stop in pairwise(edges)]
    assert [sample for part in parts for sample in unpack(part)] == unpack(listing)
    assert all(part.classes == listing.classes for part in parts)


@given(datasets)
def test_sorting_sorted_samples_copies_nothing(dataset):
    listing = build(dataset)
    assert sorted_by_key(listing) is listing
    backwards = listing.take(np.arange(listing.num_samples)[::-1])
    assert unpack(sorted_by_key(backwards)) == unpack(listing)


@given(datasets)
def test_pickles_for_workers(dataset):
    listing = build(dataset)
    copy = pickle.loads(pickle.dumps(listing))
    assert isinstance(copy, Listing)
    assert unpack(copy) == unpack(listing)


def test_codes_are_small_numbers():
    listing = build({"a": {"jpg": ("a.jpg", 1, 2)}})
    assert (listing.field_code.dtype, listing.size.dtype) == (np.uint16, np.int64)
    with pytest.raises(AttributeError):
        listing.root = "/elsewhere"


@given(datasets, st.data())
def test_the_split_goes_with_its_sample(dataset, data):
    numbers = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(dataset), max_size=len(dataset))), np.uint16)
    listing = replace(build(dataset), split_names=("train", "val", "x"), split=numbers)
    split_of_key = dict(zip(listing.keys, numbers.tolist(), strict=True))
    order = data.draw(st.permutations(range(listing.num_samples)))
    first, stop = sorted(data.draw(st.tuples(*[st.integers(0, listing.num_samples)] * 2)))
    for part in (listing.take(np.array(order, np.int64)), listing.slice(first, stop), without(listing, set(order[:1]))):
        assert part.split_names == ("train", "val", "x")
        assert part.split.tolist() == [split_of_key[key] for key in part.keys]


def test_owners_of_members():
    listing = inline_listing({"a": {"x": b"", "y": b""}, "b": {"x": b""}, "c": {"x": b"", "y": b""}})
    assert listing.owners(range(5)).tolist() == [0, 0, 1, 2, 2]
    assert listing.owners([]).tolist() == []


@given(names, st.data())
def test_without_takes_samples_and_the_fields_that_only_they_had(dataset, data):
    listing = listing_of({key: sorted(fields) for key, fields in dataset.items()})
    left_out = data.draw(st.sets(st.sampled_from(range(listing.num_samples)))) if dataset else set()
    kept = [key for number, key in enumerate(listing.keys) if number not in left_out]
    rest = without(listing, left_out)
    assert samples_of(rest) == {key: samples_of(listing)[key] for key in kept}
    assert rest.fields == tuple(sorted(set().union(*(dataset[key] for key in kept))))
