"""LMDB: the real library reads every payload under its name; a run that was killed goes on."""

from __future__ import annotations

import sys

import pytest

import shardpack
from shardpack.errors import ExportError, OptionError, StorageError
from shardpack.export.exporter import Limits, Part
from shardpack.export.formats.lmdb import LmdbExporter
from shardpack.export.staging import Staging
from tests.export.datasets import classified, dataset, files

lmdb = pytest.importorskip("lmdb")


def entries(path):
    environment = lmdb.open(str(path), readonly=True, lock=False, subdir=path.is_dir())
    try:
        with environment.begin() as transaction:
            return {bytes(name): bytes(value) for name, value in transaction.cursor()}
    finally:
        environment.close()


def expected(ds):
    return {f"{sample.key}.{field}".encode(): payload for sample in ds for field, payload in sample.items()}


def test_every_byte_comes_back(pets, tmp_path):
    report = shardpack.export(pets, tmp_path / "out", to="lmdb")
    assert report.num_files == 2
    assert sorted(files(tmp_path / "out")) == ["data.mdb", "shardpack-classes.yaml"]
    assert entries(tmp_path / "out") == expected(pets)


def test_entries_of_a_sample_are_neighbours(tmp_path):
    samples = {key: {"bin": b"1", "json": b"{}"} for key in ("a", "a-b", "a+b", "a/b", "ab")}
    shardpack.export(dataset(tmp_path / "ds", samples), tmp_path / "out", to="lmdb")
    keys = [name.rpartition(b".")[0] for name in entries(tmp_path / "out")]
    assert keys[::2] == keys[1::2]


def test_fields_and_views(pets, tmp_path):
    shardpack.export(pets.select([3]), tmp_path / "out", to="lmdb", fields=["jpg"])
    assert entries(tmp_path / "out") == {b"dog/0003.jpg": pets[3]["jpg"]}


class Small(LmdbExporter):
    """Writes two samples in a transaction."""

    @property
    def limits(self):
        return Limits(1 << 20, 2)


def test_parts_go_into_one_file_and_a_killed_run_goes_on(tmp_path, monkeypatch):
    ds = dataset(tmp_path / "ds", classified(7))
    from shardpack.export import run

    monkeypatch.setattr(run, "exporter_named", lambda _: Small)
    shardpack.export(ds, tmp_path / "whole", to="lmdb", jobs=2)
    assert entries(tmp_path / "whole") == expected(ds)
    make_part, calls = run.make_part, []

    def killed_behind_the_transaction(task, advance):
        made = make_part(task, advance)
        calls.append(task.part.number)
        if calls == [0, 1]:
            (tmp_path / "out").joinpath(task.paths.note_path(1)).unlink()
            raise KeyboardInterrupt
        return made

    monkeypatch.setattr(run, "make_part", killed_behind_the_transaction)
    with pytest.raises(KeyboardInterrupt):
        shardpack.export(ds, tmp_path / "out", to="lmdb")
    report = shardpack.export(ds, tmp_path / "out", to="lmdb")
    assert calls == [0, 1, 1, 2, 3]
    assert report.resumed_parts == 1
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_key_that_is_too_long_is_named_or_skipped(tmp_path):
    long = "/".join(["k" * 100] * 6)
    ds = dataset(tmp_path / "ds", {"a": {"bin": b"1"}, long: {"bin": b"2"}})
    with pytest.raises(ExportError, match="has 609 bytes, expected at most 511"):
        shardpack.export(ds, tmp_path / "out", to="lmdb")
    assert shardpack.export(ds, tmp_path / "two", to="lmdb", on_error="skip").num_samples == 1
    assert entries(tmp_path / "two") == {b"a.bin": b"1"}


@pytest.mark.parametrize("options", [{"drop": ["x"]}, {"max_file_samples": 3}, {"max_file_bytes": "1MB"}])
def test_options_that_do_not_apply(pets, tmp_path, options):
    with pytest.raises(OptionError, match="do not apply to lmdb"):
        shardpack.export(pets, tmp_path / "out", to="lmdb", **options)


def test_what_lmdb_refuses_is_said_in_our_words(pets, tmp_path):
    exporter = LmdbExporter(pets.fields, 1 << 14, "")
    staging = Staging(str(tmp_path), "a", force=False)
    part = Part(0, None, 0, 1, 0, 6, 1)
    with staging, pytest.raises(StorageError, match=r"cannot write .*data.mdb.*MDB_MAP_FULL.*free some space"):
        exporter.write(part, map(exporter.row_maker(), pets), staging.paths.files())


def test_without_lmdb_the_extra_is_named(pets, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(shardpack.ShardpackError, match=r'pip install "shardpack\[lmdb\]"'):
        shardpack.export(pets, tmp_path / "out", to="lmdb")
