"""Bytes are counted once, whether a unit tells how far it is or not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shardpack.write.byte_progress import ByteProgress


@given(st.lists(st.lists(st.integers(0, 100), max_size=4), max_size=6), st.randoms())
def test_each_byte_counts_once(units, chance):
    """Each unit tells some parts, then it is finished; units are mixed."""
    sizes = [sum(parts) + 7 for parts in units]
    events = [(unit, part) for unit, parts in enumerate(units) for part in [*parts, None]]
    chance.shuffle(events)
    told, seen = [0] * len(units), []
    counted = ByteProgress(lambda *progress: seen.append(progress), sum(sizes))
    for unit, part in events:
        if part is not None and told[unit] is not None:
            told[unit] += part
            counted.advance(unit, part)
        elif part is None:
            told[unit] = None
            counted.finish(unit, sizes[unit])
    assert all(phase == "pack" and total == sum(sizes) for phase, _, total in seen)
    assert [done for _, done, _ in seen][-1:] == [sum(sizes)][: len(seen)]


def test_what_others_make_is_not_expected():
    seen = []
    counted = ByteProgress(lambda *progress: seen.append(progress), 100)
    counted.finish("a", 10)
    counted.expect(30)
    counted.finish("b", 30)
    counted.finish("made by another part", 5)
    assert seen == [("pack", 10, 100), ("pack", 40, 40), ("pack", 45, 45)]
