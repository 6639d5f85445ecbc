"""One contract for all sources: listings are consistent, readable, picklable, and the same each time.

Of what cannot be packed, all problems are counted, the first few are named, and the other samples stay unchanged.
"""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.errors import SourceError
from shardpack.runtime.processes import start_workers
from shardpack.sources.dataset import DatasetSource
from shardpack.sources.folder import FolderSource
from shardpack.sources.listing import name_of
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import SHOWN, ListOptions, Problems
from tests.conftest import image_folder
from tests.fakes import make_listing
from tests.sources.trees import listing_of

notes = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["hidden", "unknown"])), max_size=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_folder(tmp_path_factory.mktemp("source") / "photos", per_class=4)


@pytest.fixture(scope="module")
def dataset(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed") / "out"
    shardpack.pack(folder, out, max_shard_samples=3)
    return shardpack.open(out)


@pytest.fixture(params=["folder", "files", "dataset", "view"])
def source(request, folder, dataset):
    return {
        "folder": FolderSource(folder),
        "files": FolderSource(folder, "files"),
        "dataset": DatasetSource(dataset),
        "view": DatasetSource(dataset.select([5, 1, 3])),
    }[request.param]


def members(listing):
    return [
        (
            key,
            [listing.fields[code] for code in listing.field_code[a:b]],
            [read_payload(listing, i) for i in range(a, b)],
        )
        for key, a, b in zip(listing.keys, listing.start[:-1].tolist(), listing.start[1:].tolist(), strict=True)
    ]


def test_columns_fit_together(source):
    listing = source.list(ListOptions()).listing
    assert listing.num_samples > 0
    assert listing.start[0] == 0
    assert (np.diff(listing.start) > 0).all()
    total = listing.start[-1]
    assert total == len(listing.payload) == len(listing.size) == len(listing.field_code) == len(listing.mtime_ns)
    assert listing.fields == tuple(sorted(set(listing.fields)))
    for _, fields, _ in members(listing):
        assert fields == sorted(fields)
    assert len(set(listing.keys)) == listing.num_samples


def test_sizes_are_true(source):
    listing = source.list(ListOptions()).listing
    assert [len(read_payload(listing, i)) for i in range(len(listing.payload))] == listing.size.tolist()


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_same_every_time_in_every_process(source, jobs):
    once = members(source.list(ListOptions()).listing)
    with start_workers(jobs) as engine:
        again = source.list(ListOptions(engine=engine))
    assert members(again.listing) == once
    assert members(pickle.loads(pickle.dumps(again.listing))) == once
    assert not again.problems.rejected


def test_progress_counts_up(source):
    counts = []
    source.list(ListOptions(progress=counts.append))
    assert counts
    assert counts == sorted(counts)


def test_nothing_is_an_error(dataset, tmp_path):
    for source in (FolderSource(tmp_path), DatasetSource(dataset.select([]))):
        with pytest.raises(SourceError, match="to pack in"):
            source.list(ListOptions())


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
