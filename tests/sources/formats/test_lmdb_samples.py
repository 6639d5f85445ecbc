"""Runs of samples in LMDB environments."""

from __future__ import annotations

import lmdb as writer
import pytest

from shardpack.sources.formats import lmdb_samples
from shardpack.sources.formats.found_files import find_files
from shardpack.sources.formats.lmdb_file import opened
from shardpack.sources.formats.lmdb_samples import all_samples, find_runs, read_samples, split_in


@pytest.mark.parametrize(
    ("name", "split"),
    [("x_train_lmdb/data.mdb", "train"), ("val.lmdb", "val"), ("a/data.mdb", None), ("train_test.lmdb", None)],
)
def test_paths_tell_splits(name, split):
    assert split_in(name) == split


@pytest.mark.parametrize("ending", [(b"",), (b".jpg", b".json")])
def test_runs_begin_where_the_others_end(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(lmdb_samples, "_RUN", 3)
    with writer.open(str(tmp_path), map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"__len__", b"8")
        for number in range(8):
            for end in ending:
                transaction.put(b"%d%s" % (number, end), b"xy")
    found = find_files(tmp_path)
    runs = list(find_runs(found, "data.mdb"))
    assert [(unit.num_rows, unit.num_bytes) for _, unit in runs] == [(n, 2 * n * len(ending)) for n in (3, 3, 2)]
    for mapped in (0, 5, 1000):  # after how many bytes the file is mapped anew
        whole = [key for _, key, _ in all_samples(found, runs[0][0], mapped_bytes=mapped)]
        assert whole == [str(number) for number in range(8)]
    with opened(found, "data.mdb") as environment:
        firsts = [next(read_samples(environment, run))[1] for run, _ in runs]
    assert firsts == ["0", "3", "6"]
