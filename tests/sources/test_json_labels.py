"""Labels are JSON that any reader accepts, and each joins its own sample."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.codecs.field_types import parse_json
from shardpack.errors import SourceError
from shardpack.sources.json_labels import attach_labels, compact_json
from shardpack.sources.source import Problems
from tests.sources.trees import listing_of, samples_of

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(values)
def test_compact_json_reads_back_as_it_was(value):
    text = compact_json(value)
    assert parse_json(text) == value
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def test_half_a_surrogate_pair_is_escaped():
    assert compact_json({"é": "\ud800"}) == b'{"\\u00e9":"\\ud800"}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_json_cannot_say_is_an_error(number):
    with pytest.raises(SourceError, match=r"JSON cannot represent a value: .*; change it, or drop it"):
        compact_json({"a": [number]})


def test_what_is_nested_too_deep_is_an_error():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SourceError, match="JSON cannot represent a value: "):
        compact_json(value)


@given(
    st.lists(st.lists(st.sampled_from(["jpg", "a", "json", "k.png", "txt"]), min_size=1, unique=True), max_size=6),
    st.data(),
)
def test_each_label_joins_its_own_sample(fields, data):
    listing = listing_of({str(number): names for number, names in enumerate(fields)})
    labels = data.draw(
        st.lists(st.none() | st.binary(max_size=3), min_size=listing.num_samples, max_size=listing.num_samples)
    )
    refused = data.draw(st.dictionaries(st.integers(0, len(fields) - 1), st.text(), max_size=2)) if fields else {}
    problems = Problems()
    found = samples_of(attach_labels(listing, labels, problems, refused=refused))
    expected, before = {}, samples_of(listing)
    for sample, (key, payloads) in enumerate(before.items()):
        if sample not in refused and labels[sample] is not None and "json" not in payloads:
            expected[key] = {**payloads, "json": labels[sample]}
    assert found == expected
    assert len(problems.rejected) + problems.left_out["no label"] + len(found) == listing.num_samples


def test_made_labels_have_their_length_and_no_time():
    listing = attach_labels(listing_of(["a", "b"]), [b"1", b"22"], Problems())
    assert listing.size.tolist() == [10, 1, 10, 2]
    assert listing.mtime_ns.tolist() == [0, 0, 0, 0]
