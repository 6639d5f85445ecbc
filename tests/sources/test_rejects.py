"""All problems are counted, the first few are named, and the other samples stay unchanged."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.rejects import SHOWN, Problems, name_of, without
from tests.fakes import make_listing
from tests.sources.trees import listing_of, samples_of

datasets = st.dictionaries(
    st.text("abc", min_size=1, max_size=3), st.sets(st.sampled_from(["jpg", "json", "seg.png"]), min_size=1), max_size=6
)
notes = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["hidden", "unknown"])), max_size=6)


@given(datasets, st.data())
def test_without_takes_samples_and_the_fields_that_only_they_had(dataset, data):
    listing = listing_of({key: sorted(fields) for key, fields in dataset.items()})
    left_out = data.draw(st.sets(st.sampled_from(range(listing.num_samples)))) if dataset else set()
    kept = [key for number, key in enumerate(listing.keys) if number not in left_out]
    rest = without(listing, left_out)
    assert samples_of(rest) == {key: samples_of(listing)[key] for key in kept}
    assert rest.fields == tuple(sorted(set().union(*(dataset[key] for key in kept))))


@given(notes, notes)
def test_what_was_collected_apart_is_as_if_collected_together(first, second):
    together, apart, rest = Problems(), Problems(), Problems()
    for problems, found in ((together, first + second), (apart, first), (rest, second)):
        for name, reason in found:
            problems.leave_out(name, reason)
            problems.reject(name, reason)
    apart.extend(rest)
    assert apart == together
    assert sum(together.left_out.values()) == len(first + second)
    for reason, name in together.left_out_examples.items():
        assert name == next(one for one, why in first + second if why == reason)


@pytest.mark.parametrize("count", [1, SHOWN, SHOWN + 1, 50])
def test_the_error_names_the_first_few_and_counts_all(count):
    problems = Problems()
    for number in range(count):
        problems.reject(f"{number}.jpg", "empty file")
    with pytest.raises(SourceError) as caught:
        problems.raise_if_any()
    text = str(caught.value)
    assert re.findall(r"'(\d+)\.jpg': empty file", text) == [str(number) for number in range(min(count, SHOWN))]
    assert text.startswith("1 problem in" if count == 1 else f"{count} problems in")
    assert ("; and" in text) == (count > SHOWN)
    assert f"and {count - SHOWN} more;" in text or count <= SHOWN
    assert text.endswith("(--on-error skip)")


def test_files_without_a_sample_are_not_errors():
    problems = Problems()
    problems.leave_out("a.txt", "no image")
    problems.raise_if_any()


def test_samples_are_rejected_by_the_path_of_their_image():
    samples = {
        "a": [("json", b"{}", 2, 0), ("jpg", "folder/A.JPG", 10, 0)],
        "b": [("json", b"{}", 2, 0), ("txt", "b.txt", 3, 0)],
        "c": [("jpg", "c.jpg", 10, 0)],
    }
    listing, problems = make_listing("/root", samples), Problems()
    assert [name_of(listing, sample) for sample in range(3)] == ["folder/A.JPG", "b", "c.jpg"]
    rest = problems.reject_samples(listing, {1: "no image", 0: "truncated"})
    assert problems.rejected == [("folder/A.JPG", "truncated"), ("b", "no image")]
    assert (list(rest.keys), rest.fields) == (["c"], ("jpg",))


def test_nothing_rejected_is_the_same_listing():
    listing = listing_of(["a", "b"])
    assert Problems().reject_samples(listing, {}) is listing
