"""Ranges within ranges, against looking at all of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardpack.storage.cache.spans import Spans

spans = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda pair: (pair[0], sum(pair)))


def pairs_of(found):
    return list(zip(found.starts, found.ends, strict=True))


def outermost(pairs):
    """Return those that lie within no other, by the definition."""
    kept = set(pairs)
    return sorted(p for p in kept if not any(q != p and q[0] <= p[0] and p[1] <= q[1] for q in kept))


@given(pairs=st.lists(spans))
def test_none_lies_within_another_however_they_came(pairs):
    one_by_one = Spans()
    for start, end in pairs:
        one_by_one = one_by_one.with_span(start, end)
    assert pairs_of(Spans.of(pairs)) == pairs_of(one_by_one) == outermost(pairs)
    assert len(one_by_one) == len(outermost(pairs))


@given(pairs=st.lists(spans), wanted=spans)
def test_what_holds_a_range_is_found(pairs, wanted):
    found = Spans.of(pairs).holding(*wanted)
    assert (found is not None) == any(start <= wanted[0] and wanted[1] <= end for start, end in pairs)
    assert found is None or (found in pairs and found[0] <= wanted[0] and wanted[1] <= found[1])


@given(pairs=st.lists(spans), gone=spans)
def test_one_can_be_forgotten(pairs, gone):
    before = Spans.of(pairs)
    kept = list(pairs_of(before))
    after = before.without_span(*gone)
    assert pairs_of(after) == [pair for pair in kept if pair != gone]
    assert pairs_of(before) == kept  # nothing changes in place
