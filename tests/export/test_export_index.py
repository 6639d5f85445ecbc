"""Files that describe tars: in a folder of their own or beside the tars, all or none."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError, OutputExistsError
from shardpack.export.export_index import export_index
from shardpack.export.exporter import ExportOptions
from shardpack.export.staging import INDEX_STAGING_NAME, Staging, lock_staging, refuse_occupied
from shardpack.storage.memory import MemoryStore
from tests.export.datasets import classified, dataset, files
from tests.fakes import file_contents


class Names:
    takes = frozenset()

    def __init__(self, ds, *, fails=False):
        self._ds, self._fails = ds, fails
        self.names = [f"{info.name}.keys" for info in ds.shards]

    @classmethod
    def of(cls, ds, _options, **_beside):
        return cls(ds)

    def write(self, out, _progress):
        for name in self.names:
            with open(out.create(name), "w", encoding="utf-8") as file:
                file.write("keys")
            if self._fails:
                raise KeyboardInterrupt


class Failing(Names):
    @classmethod
    def of(cls, ds, _options, **_beside):
        return cls(ds, fails=True)


def export(ds, out, kind=Names, *, force=False, dry_run=False):
    return export_index(kind, "names", ds, out, ExportOptions(), force=force, dry_run=dry_run)


EXPECTED = {"shard-000000.tar.keys": b"keys", "shard-000001.tar.keys": b"keys"}


def test_to_a_folder_and_beside_the_tars(tmp_path):
    ds = dataset(tmp_path / "ds", classified())
    assert export(ds, str(tmp_path / "out")).num_files == 2
    assert files(tmp_path / "out") == EXPECTED
    before = files(tmp_path / "ds")
    assert export(ds, None).out == str(tmp_path / "ds")
    assert files(tmp_path / "ds") == {**before, **EXPECTED}


def test_existing_files_are_refused_unless_forced(tmp_path, pets):
    (tmp_path / "shard-000001.tar.keys").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"shard-000001.tar.keys.*--force"):
        export(pets, str(tmp_path))
    export(pets, str(tmp_path), force=True)
    assert files(tmp_path) == EXPECTED


def test_a_failure_leaves_nothing_and_a_dry_run_writes_nothing(tmp_path, pets):
    with pytest.raises(KeyboardInterrupt):
        export(pets, str(tmp_path), Failing)
    assert export(pets, str(tmp_path), dry_run=True).dry_run
    assert not files(tmp_path)


def test_an_unfinished_export_to_the_same_folder_is_kept(tmp_path, pets):
    with Staging(str(tmp_path), "a", force=False) as staging:
        staging.paths.keep_note(3, {"rows": 1})
        export(pets, str(tmp_path))
    for name in EXPECTED:
        (tmp_path / name).unlink()
    with Staging(str(tmp_path), "a", force=False) as staging:
        assert staging.paths.note(3) == {"rows": 1}


def test_one_at_a_time_and_what_a_killed_one_left_is_removed(tmp_path, pets):
    left = tmp_path / INDEX_STAGING_NAME
    (left / "files").mkdir(parents=True)
    (left / "files" / "old").write_text("")
    refuse_occupied(str(tmp_path), force=False)
    refused = pytest.raises(OutputExistsError, match="another process is exporting")
    with lock_staging(str(left), shared=False), refused:
        export(pets, str(tmp_path))
    assert (left / "files" / "old").exists()
    export(pets, str(tmp_path))
    assert files(tmp_path) == EXPECTED
    assert not left.exists()


def test_beside_what_is_not_on_a_disk_is_refused(pets):
    import shardpack

    ds = shardpack.open(MemoryStore(file_contents(pets.location)))
    with pytest.raises(OptionError, match="is not a folder; name one, OUT"):
        export(ds, None)
