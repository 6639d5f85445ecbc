"""Bad samples are found wherever the tasks are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.runtime.engine import IN_PROCESS
from shardpack.sources.check_samples import check_samples
from shardpack.sources.source import Problems
from tests.sources.trees import listing_of


def odd(listing):
    return [(i, "it is odd") for i, key in enumerate(listing.keys) if int(key) % 2]


@given(st.integers(1, 20), st.integers(1, 30))
def test_the_good_ones_are_kept(count, step):
    seen, problems = [], Problems()
    good = check_samples(
        listing_of([f"{number:02d}" for number in range(count)]),
        problems,
        odd,
        engine=IN_PROCESS,
        on_error="skip",
        progress=lambda *call: seen.append(call),
        samples_per_task=step,
    )
    assert list(good.keys) == [f"{number:02d}" for number in range(0, count, 2)]
    assert problems.rejected == [(f"{number:02d}.jpg", "it is odd") for number in range(1, count, 2)]
    assert seen[-1] == ("check", count, count)


def test_errors():
    for on_error, reason in (
        ("raise", "1 problem in the source: '1.jpg': it is odd"),
        ("skip", "all 1 samples are bad"),
    ):
        with pytest.raises(SourceError, match=reason):
            check_samples(
                listing_of(["1"]), Problems(), odd, engine=IN_PROCESS, on_error=on_error, progress=lambda *_: None
            )
