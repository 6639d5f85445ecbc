"""Packing iterables: accepted items, refused options, and progress."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import OptionError

SAMPLES = [(f"{i:04d}", {"bin": bytes(100)}) for i in range(600)]


def test_progress_is_told(tmp_path):
    calls = []
    report = shardpack.pack(SAMPLES, tmp_path / "out", progress=lambda *call: calls.append(call))
    assert calls == [("pack", 25_600, 0), ("pack", 51_200, 0), ("pack", 60_000, 0)]
    assert (report.num_samples, report.payload_bytes, report.out) == (600, 60_000, str(tmp_path / "out"))


def test_jobs_are_refused_with_a_reason(tmp_path):
    with pytest.raises(OptionError, match="jobs is not for an iterable, which only this process can iterate"):
        shardpack.pack(SAMPLES, tmp_path / "out", jobs=4)
    with pytest.raises(OptionError, match="threads_per_job is not for an iterable"):
        shardpack.pack(SAMPLES, tmp_path / "out", threads_per_job=2)
    shardpack.pack(SAMPLES[:1], tmp_path / "out", jobs=1)


def test_classes_are_kept(tmp_path):
    report = shardpack.pack(SAMPLES[:3], tmp_path / "out", classes=["a", "b"])
    assert report.classes == shardpack.open(tmp_path / "out").classes == ("a", "b")


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([("a", {"bin": b""}), "b"], "item 1 of the iterable is a str, expected"),
        ([{"bin": b""}], "item 0 of the iterable is a dict"),
        ([("a", {"bin": b""}, 3)], "item 0 of the iterable is a tuple"),
    ],
)
def test_items_that_are_not_samples_are_named(tmp_path, items, says):
    with pytest.raises(OptionError, match=says):
        shardpack.pack(items, tmp_path / "out")
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(tmp_path / "out")


@pytest.mark.parametrize("mixed", [False, True])
def test_a_stream_is_not_packed_over_its_own_tars(tmp_path, mixed):
    shardpack.pack([("a", {"txt": "1"}), ("b", {"txt": "2"})], tmp_path)
    ds = shardpack.open(tmp_path)
    stream = shardpack.mix([(ds, 1), (ds, 1)]) if mixed else ds.stream()
    with pytest.raises(OptionError, match="source and target are the same"):
        shardpack.pack(stream, tmp_path, force=True)
    assert shardpack.open(tmp_path)["b"]["txt"] == b"2"


@pytest.mark.parametrize("compress", [["shards"], 0, "zstd:3", 5, {"shards": None}])
def test_a_compress_that_is_not_understood_is_refused(tmp_path, compress):
    with pytest.raises(OptionError, match=r"compress is .*; expected a mapping|unknown compression None"):
        shardpack.pack([("a", {"txt": "1"})], tmp_path / "out", compress=compress)
    assert not (tmp_path / "out").exists()
