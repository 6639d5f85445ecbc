"""The figures are correct: the samples are read, their bytes are counted, and the time is kept."""

from __future__ import annotations

import shutil

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.inspect import benchmark as bench
from shardpack.inspect.benchmark import measure
from tests.read.datasets import numbered, write

NAMES = ["stream, stored order", "stream, shards shuffled", "ds[i], random", "ds[key], random", "get_many(256), random"]


@pytest.fixture
def ds(tmp_path):
    return shardpack.open(write(tmp_path, numbered(50, size=900), max_shard_samples=7))


def test_figures_count_what_was_read(ds, monkeypatch):
    read = []
    monkeypatch.setattr(
        bench, "_time", lambda items, _seconds: (read.extend(next(items) for _ in range(123)), (123, 2.0))[1]
    )
    figures = list(measure(ds, seconds=0.01))
    assert [figure.name for figure in figures] == NAMES
    flat = [item if isinstance(item, list) else [item] for item in read]
    for number, figure in enumerate(figures):
        samples = [sample for item in flat[123 * number : 123 * (number + 1)] for sample in item]
        assert figure.num_samples == len(samples) == 123 * (256 if "many" in figure.name else 1)
        assert figure.num_bytes == sum(len(payload) for sample in samples for payload in sample.values())
        assert figure.samples_per_second == len(samples) / 2
        assert figure.bytes_per_second == figure.num_bytes / 2


def test_time_is_kept(ds):
    progress = []
    figures = list(measure(ds, seconds=0.05, progress=lambda *call: progress.append(call)))
    assert all(0.05 <= figure.seconds < 60 for figure in figures), "it ends at all"
    assert progress == [("bench", done, 5) for done in range(6)]


def test_one_sample_that_takes_longer_than_the_time(tmp_path):
    ds = shardpack.open(write(tmp_path, {"a": {"bin": bytes(40 << 20)}, "b": {"bin": bytes(30 << 20)}}))
    figures = list(measure(ds, seconds=1e-6))
    assert [figure.name for figure in figures][-1] == "get_many(1), random", "never more than 64 MiB at a time"
    assert all(figure.num_samples == 1 for figure in figures)


def test_a_view_is_measured_as_itself(ds):
    figures = list(measure(ds.select([3]), seconds=0.005))
    assert all(figure.num_bytes / figure.num_samples == sum(map(len, ds[3].values())) for figure in figures)


def test_keys_that_name_two_samples_are_left_out(ds):
    first = f"{ds.location}/shard-000000.tar"
    shutil.copy(first, f"{ds.location}/again.tar")
    shardpack.index(ds.location, on_duplicate="keep", force=True)
    assert [figure.name for figure in measure(shardpack.open(ds.location), seconds=0.005)] == NAMES
    twice = shardpack.open(ds.location).select(range(14))
    assert [figure.name for figure in measure(twice, seconds=0.005)] == [name for name in NAMES if "key" not in name]


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_options_are_checked(ds, seconds):
    with pytest.raises(OptionError, match="expected more than 0"):
        list(measure(ds, seconds=seconds))


def test_an_empty_dataset(tmp_path):
    with pytest.raises(OptionError, match="the dataset is empty; there is nothing to measure"):
        list(measure(shardpack.open(write(tmp_path / "x", {}))))
