"""Checking a listing in parallel: the same verdict as one by one, in the listing's order."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import no_progress
from shardpack.sources import listing_check as check_module
from shardpack.sources.listing_check import check_listing
from shardpack.sources.rejects import Problems
from tests.conftest import make_jpeg
from tests.fakes import file_listing, inline_listing

GOOD, BAD = make_jpeg(), b"no picture"


def samples(bad, count=23):
    return {f"{i:02d}": {"jpg": BAD if i in bad else GOOD, "txt": b"x"} for i in range(count)}


def check(listing, *, jobs=1, on_error="skip", progress=no_progress, mode="signature"):
    problems = Problems()
    with start_workers(jobs) as engine:
        good = check_listing(listing, problems, mode, engine=engine, on_error=on_error, progress=progress)
    return good, problems


@pytest.fixture(autouse=True)
def small_tasks(monkeypatch):
    monkeypatch.setattr(check_module, "SAMPLES_PER_TASK", 4)


@pytest.mark.parametrize(
    ("bad", "jobs"),
    [(set(), 1), ({0}, 1), ({22}, 1), ({3, 4, 5, 11}, 1), ({3, 4, 5, 11}, 3), (set(range(0, 23, 2)), 2)],
)
def test_the_bad_ones_are_left_out_in_order(tmp_path, jobs, bad):
    listing = file_listing(tmp_path, samples(bad))
    good, problems = check(listing, jobs=jobs)
    assert list(good.keys) == [f"{i:02d}" for i in range(23) if i not in bad]
    assert [name for name, _ in problems.rejected] == [f"{i:02d}.jpg" for i in sorted(bad)]
    assert all(reason == "jpg: does not begin like a jpg picture" for _, reason in problems.rejected)
    if not bad:
        assert good is listing


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_adds_up(jobs):
    calls = []
    check(inline_listing(samples({5})), jobs=jobs, progress=lambda *call: calls.append(call))
    assert calls == [("check", done, 23) for done in (4, 8, 12, 16, 20, 23)]


def test_without_skipping_all_are_counted_in_one_error():
    with pytest.raises(SourceError, match=r"^4 problems in the source: '00'.*; and 1 more; mend them"):
        check(inline_listing(samples({0, 1, 2, 3})), on_error="raise")


def test_nothing_good_is_an_error_also_when_skipping():
    with pytest.raises(SourceError, match=r"none of 5 samples is good, such as '04': .*; mend them"):
        check(inline_listing(samples(set(range(5)), count=5)))


def test_fields_that_only_bad_samples_had_are_gone():
    listing = inline_listing({"a": {"jpg": GOOD}, "b": {"png": BAD}})
    good, _ = check(listing)
    assert good.fields == ("jpg",)


@pytest.mark.parametrize("jobs", [1, 2])
def test_another_mode_is_refused(jobs):
    with pytest.raises(OptionError, match="check is 'x'"):
        check(inline_listing(samples(set())), jobs=jobs, mode="x")


def test_no_samples():
    good, problems = check(inline_listing({}))
    assert good.num_samples == 0
    assert problems.rejected == []
