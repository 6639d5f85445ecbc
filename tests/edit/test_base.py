"""What all edits begin with is the newest generation, wherever it is."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.errors import DatasetNotFoundError, OptionError
from shardpack.format.layout import MANIFEST_PATH
from tests.commit.stores import WatchedStore


@pytest.fixture(params=["folder", "bucket", "store"])
def place(request, tmp_path):
    where = tmp_path / "ds" if request.param == "folder" else WatchedStore()
    where = where.url if request.param == "bucket" else where
    with shardpack.ShardWriter(where, max_shard_samples=2) as writer:
        for key in "abc":
            writer.write(key, {"bin": key.encode()})
    return where


def test_it_reads_the_newest_generation(place):
    base = open_base(place)
    assert base.manifest.generation == 1
    assert base.lookup.find("c") == 2
    assert base.cache.read(2)["bin"] == b"c"
    assert base.location == shardpack.open(place).location
    assert f"{base.chain():016x}" == base.manifest.fingerprint
    base.close()


def test_a_transaction_edits_what_is_newest_by_then(place):
    base = open_base(place)
    with base.begin("delete", run_digest="x") as transaction:
        assert base.of(transaction) is base
        other = base.at(transaction.parent_text, transaction.parent)
        assert other.lookup.find("b") == 1


def test_refusals(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        open_base(tmp_path / "none")
    with pytest.raises(DatasetNotFoundError, match="shardpack pack"):
        open_base(WatchedStore().url)
    assert not (tmp_path / "none").exists(), "nothing is made"
    with pytest.raises(OptionError, match="a web server takes no files"):
        open_base("https://example.org/ds")


def test_work_dirs_are_for_buckets(place, tmp_path):
    if isinstance(place, WatchedStore) or "://" in str(place):
        assert open_base(place, work_dir=tmp_path).manifest.num_samples == 3
    else:
        assert (place / MANIFEST_PATH).exists()
        with pytest.raises(OptionError, match="work_dir is for buckets"):
            open_base(place, work_dir=tmp_path)
