"""Rows as what chunks are cut from: each row once, in order, whatever the units are."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.sources.row_source import BadRow, Row, Unit
from shardpack.write.apply_steps import Failure
from shardpack.write.chunk_input import BATCH_BYTES, BATCH_SAMPLES
from shardpack.write.plan_members import RowMembers
from shardpack.write.row_input import RowInput, Rows

PAYLOAD = b"x" * 100


@dataclass(frozen=True)
class FakeRows:
    """Rows that are made up: (split, number of rows, whether it is known) of each unit; bad ones by their number."""

    shape: tuple[tuple[str | None, int, bool], ...]
    bad: frozenset[tuple[int, int]] = frozenset()
    payload: bytes = PAYLOAD
    missing: int = 0
    whole: frozenset[int] = frozenset()
    format: str = "fake"
    classes: tuple[str, ...] | None = None
    version: str = "1"
    sentence: str = "made up"
    units: tuple[Unit, ...] = field(init=False)

    def __post_init__(self):
        units = [
            Unit(f"unit-{number}", count if known else None, count * len(self.payload), split, number in self.whole)
            for number, (split, count, known) in enumerate(self.shape)
        ]
        object.__setattr__(self, "units", tuple(units))

    def rows(self, unit, first, stop):
        count = self.shape[unit][1] - self.missing
        for row in range(first, count if stop is None else min(stop, count)):
            if (unit, row) in self.bad:
                yield BadRow(f"unit-{unit}, record {row}", "made to be bad")
            else:
                yield Row(f"{unit:03d}-{row:05d}", {"bin": self.payload, "json": {"row": row}})


def keys_of(part):
    return [sample[0] for batch in part.batches() for sample in batch.samples]


units = st.lists(st.tuples(st.sampled_from([None, "train", "val"]), st.integers(0, 40), st.booleans()), max_size=8)


@given(units, st.frozensets(st.integers(0, 7)), st.integers(1, 5000), st.none() | st.integers(1, 50))
def test_each_row_is_in_one_chunk_and_no_chunk_has_two_splits(shape, whole, max_bytes, max_samples):
    source = FakeRows(tuple(shape), whole=whole)
    found = RowInput(source)
    spans = found.cut([(1, 1)], max_bytes, max_samples)
    seen = {}
    for span in spans:
        assert {source.units[rows.unit].split for rows in span} == {found.split(span)}
        for key in keys_of(pickle.loads(pickle.dumps(found.part(span)))):
            seen.setdefault(found.split(span), []).append(key)
    expected = {}
    for number, (split, count, _) in enumerate(shape):
        expected.setdefault(split, []).extend(f"{number:03d}-{row:05d}" for row in range(count))
    assert seen == {split: keys for split, keys in expected.items() if keys}
    ranks = {"train": 0, "val": 1, None: 2}
    order = [ranks[found.split(span)] for span in spans]
    assert order == sorted(order)


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(200, 5000), st.none() | st.integers(1, 50))
def test_units_that_are_whole_are_read_once(counts, max_bytes, max_samples):
    source = FakeRows(tuple((None, count, True) for count in counts), whole=frozenset(range(len(counts))))
    spans = RowInput(source).cut([(1, 1)], max_bytes, max_samples)
    assert [rows for span in spans for rows in span] == [Rows(unit, 0, count) for unit, count in enumerate(counts)]
    for span in spans:
        rows = sum(counts[unit] for unit, _, _ in span)
        fits = rows * len(PAYLOAD) <= max_bytes and (max_samples is None or rows <= max_samples)
        assert len(span) == 1 or fits


@given(st.lists(st.integers(1, 40), max_size=8), st.integers(200, 5000), st.none() | st.integers(1, 50))
def test_chunks_of_counted_rows_keep_to_their_limits(counts, max_bytes, max_samples):
    found = RowInput(FakeRows(tuple((None, count, True) for count in counts)))
    for span in found.cut([(1, 1)], max_bytes, max_samples):
        assert found.span_bytes(span) <= max_bytes
        if max_samples is not None:
            assert sum(rows.stop - rows.first for rows in span) <= max_samples


def test_a_chunk_ends_at_a_unit_if_it_is_half_full():
    found = RowInput(FakeRows(((None, 6, True), (None, 6, True), (None, 30, True))))
    assert found.cut([(1, 1)], 1000, None) == [
        (Rows(0, 0, 6),),
        (Rows(1, 0, 6),),
        (Rows(2, 0, 10),),
        (Rows(2, 10, 20),),
        (Rows(2, 20, 30),),
    ]


def test_one_split_alone_has_none():
    source = FakeRows((("train", 3, True), ("val", 2, True)))
    found = RowInput(source, only_split="val")
    (span,) = found.cut([(1, 1)], 10_000, None)
    assert found.split(span) is None
    assert keys_of(found.part(span)) == ["001-00000", "001-00001"]
    assert (found.num_samples, found.source_bytes) == (2, 200)
    assert found.digest() != RowInput(source).digest()
    with pytest.raises(OptionError, match="the source has no split 'test'; choose one of 'train', 'val'"):
        RowInput(source, only_split="test")
    with pytest.raises(OptionError, match="the source has no splits"):
        RowInput(FakeRows(((None, 3, True),)), only_split="test")


def test_splits_need_names_that_shards_can_have():
    with pytest.raises(SourceError, match="a split cannot be called 'a b'"):
        RowInput(FakeRows((("a b", 3, True),)))


def test_batches_are_bounded_by_bytes_and_rows():
    (span,) = (found := RowInput(FakeRows(((None, 2 * BATCH_SAMPLES + 1, True),)))).cut([(1, 1)], 1 << 30, None)
    assert [len(batch.samples) for batch in found.part(span).batches()] == [BATCH_SAMPLES, BATCH_SAMPLES, 1]
    large = RowInput(FakeRows(((None, 5, False),), payload=bytes(BATCH_BYTES // 2)))
    assert [len(batch.samples) for batch in large.part((Rows(0, 0, None),)).batches()] == [2, 2, 1]


def test_bad_rows_are_failures_among_the_others():
    found = RowInput(FakeRows(((None, 3, True),), bad=frozenset({(0, 1)})))
    (batch,) = found.part((Rows(0, 0, 3),)).batches()
    assert batch.samples[1] == Failure("made to be bad")
    assert batch.name(1) == ("unit-0, record 1", None, "unit-0, record 1")
    assert batch.name(2) == ("unit-0, row 2", "000-00002", "unit-0, row 2")
    assert not batch.counts
    assert batch.num_bytes == 2 * (100 + len(b'{"row":0}'))


def test_a_value_that_cannot_be_stored_is_a_failure():
    found = RowInput(FakeRows(((None, 1, True),), payload=np.array([object()])))
    (batch,) = found.part((Rows(0, 0, 1),)).batches()
    assert "bin" in batch.samples[0].reason


def test_fewer_rows_than_planned_are_an_error():
    found = RowInput(FakeRows(((None, 3, True),), missing=1))
    with pytest.raises(SourceError, match="expected 3 rows, got 2"):
        keys_of(found.part((Rows(0, 0, 3),)))


def test_units_of_unknown_length_may_have_fewer_rows_than_are_drawn():
    found = RowInput(FakeRows(((None, 3, False), (None, 0, False))))
    assert [keys_of(part) for _, part in found.drawn()] == [["000-00000", "000-00001", "000-00002"], []]
    assert [keys_of(part) for _, part in found.shown(3)] == [["000-00000"], []]


def test_a_few_rows_are_drawn_from_a_few_units():
    found = RowInput(FakeRows(tuple((None, 20 * (number % 2), True) for number in range(100))))
    drawn = [keys_of(part) for _, part in found.drawn()]
    assert len(drawn) == 8
    assert {len(keys) for keys in drawn} == {8}
    assert len({key for keys in drawn for key in keys}) == 64


def test_planned_bytes_are_the_share_of_the_unit():
    found = RowInput(FakeRows(((None, 4, True), (None, 4, False))))
    (known,) = found.part((Rows(0, 0, 4),)).batches()
    (unknown,) = found.part((Rows(1, 0, None),)).batches()
    assert known.planned_bytes(0) == 100
    assert unknown.planned_bytes(0) == 100 + len(b'{"row":0}')


def test_digests_follow_the_version_of_the_source():
    one, other = RowInput(FakeRows(((None, 4, True),))), RowInput(FakeRows(((None, 4, True),), version="2"))
    assert one.digest() == one.digest(anywhere=True) != other.digest()
    span = (Rows(0, 0, 4),)
    assert len({one.span_digest("0", span), one.span_digest("1", span), other.span_digest("0", span)}) == 3


def test_compared_rows_are_the_first_of_their_chunks():
    found = RowInput(FakeRows(((None, 40, True),)))
    spans = found.cut([(1, 1)], 1000, None)
    assert [(chunk, keys_of(part)) for chunk, part in found.compared(spans, 2)] == [
        (0, ["000-00000"]),
        (2, ["000-00020"]),
    ]


def test_members_are_the_units():
    members = RowMembers(FakeRows((("train", 4, True), (None, 2, False)), classes=("cat",)))
    assert members.facts() == {"classes": ["cat"], "splits": ["train"], "version": "1"}
    assert (members.names(), members.label(1)) == ([b"unit-0", b"unit-1"], "unit-1")
    assert len(set(members.digests().tolist())) == 2
