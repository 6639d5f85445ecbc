"""The report of indexing can be printed and pickled, and cannot be changed."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, asdict

import pytest

import shardpack
from shardpack.index.report import IndexReport, RepeatedKey
from tests.format.builders import entry

FILES = ("a.jpg", "a.json", "b.jpg", "c.jpg", "README", "a.jpg")


def test_a_repeated_key_says_where_both_samples_begin():
    repeated = RepeatedKey("it's", "b.tar", 4096, "a.tar", 0)
    assert str(repeated) == "\"it's\" in 'b.tar' at 4096, after 'a.tar' at 0"


def test_it_holds_what_the_dataset_has(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"".join(entry(name.encode(), b"{}") for name in FILES) + bytes(1024))
    report = shardpack.index(tmp_path, on_duplicate="keep", ignore=["b.*"])
    ds = shardpack.open(report.out)
    assert (report.num_samples, report.num_shards, report.num_bytes) == (len(ds), 1, ds.manifest.num_bytes)
    assert report.samples_per_field == dict(ds.manifest.samples_per_field) == {"jpg": 3, "json": 1}
    assert report.repeated == (RepeatedKey("a", "x.tar", 5 * 1024, "x.tar", 0),)
    assert (report.without_key, report.ignored, report.without_checksums) == (1, {"b.*": 1}, 0)
    assert report.bytes_fetched == (tmp_path / "x.tar").stat().st_size
    assert pickle.loads(pickle.dumps(report)) == report
    assert asdict(report)["repeated"][0]["first_shard"] == "x.tar"


def test_it_cannot_be_changed():
    report = IndexReport("out", 1, 1, 1)
    with pytest.raises(FrozenInstanceError):
        report.num_samples = 2
    report.ignored["x"] = 1
    assert IndexReport("out", 1, 1, 1).ignored == {}, "each has counts of its own"
