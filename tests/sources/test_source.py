"""One contract for all sources: listings are consistent, readable, picklable, and the same each time."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import shardpack
from shardpack.errors import SourceError
from shardpack.runtime.processes import start_workers
from shardpack.sources.dataset import DatasetSource
from shardpack.sources.folder import FolderSource
from shardpack.sources.payloads import read_payload
from shardpack.sources.source import ListOptions
from tests.conftest import image_folder


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
