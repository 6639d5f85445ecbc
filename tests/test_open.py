"""What `open` refuses before it reads anything."""

from __future__ import annotations

import pickle

import pytest

import shardpack
from shardpack.errors import DatasetNotFoundError, OptionError
from shardpack.storage.local import LocalStore
from tests.read.datasets import as_dicts, expected, numbered, write


@pytest.mark.parametrize("location", [5, None, b"bytes", 1.5, {"a": 1}, {"a"}, object(), range(3)])
@pytest.mark.parametrize("index", [None, "memory"])
def test_what_is_no_location(location, index):
    with pytest.raises(OptionError, match=r"expected a (folder|path)"):
        shardpack.open(location, index=index)


@pytest.mark.parametrize("location", [["a.tar"], ("a.tar", "b.tar"), []])
def test_a_list_has_no_index(location):
    with pytest.raises(DatasetNotFoundError, match=r'a list of tars has no index; .*index="memory"'):
        shardpack.open(location)


@pytest.mark.parametrize("index", ["nonsense", "disk", True, 1, ""])
def test_other_indexes_than_memory(tmp_path, index):
    for location in (tmp_path, [tmp_path], "s3://bucket"):
        with pytest.raises(OptionError, match=r"index is .*; choose 'memory', or leave it out"):
            shardpack.open(location, index=index)


@pytest.mark.parametrize("jobs", ["4", 0, -1, 1.5, True])
def test_jobs_of_index(tmp_path, jobs):
    (tmp_path / "x.tar").write_bytes(b"")
    with pytest.raises(OptionError, match=r"jobs is .*, expected .*at least 1"):
        shardpack.index(tmp_path, jobs=jobs)


def test_sidecars_from_elsewhere(tmp_path):
    folder = write(tmp_path / "ds", numbered(6), max_shard_samples=2)
    (tmp_path / "tars").mkdir()
    for tar in folder.glob("*.tar"):
        tar.rename(tmp_path / "tars" / tar.name)
    for place in (folder, LocalStore(folder)):
        ds = shardpack.open(tmp_path / "tars", sidecars=place)
        assert as_dicts(ds[:]) == as_dicts(pickle.loads(pickle.dumps(ds))[:]) == expected(numbered(6))
        assert ds.locate(3).fields["bin"].url == str(tmp_path / "tars" / "shard-000001.tar")
        assert ds.location == str(tmp_path / "tars")
