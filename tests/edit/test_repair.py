"""What a repair tells, in a folder and in a bucket."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import OptionError, OutputExistsError, UnsupportedVersionError
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.edit.lost_files import contents, cut, make, samples, without_sidecars


def test_a_dataset_in_a_store(tmp_path):
    files = contents(make(tmp_path / "out"))
    store = MemoryStore({name: data for name, data in files.items() if name.endswith(".tar")})
    report = shardpack.repair(store)
    assert (report.num_samples, report.num_shards, report.generation) == (10, 4, 1)
    with shardpack.open(store) as ds:
        assert [(sample.key, dict(sample)) for sample in ds] == samples(tmp_path / "out")
    store.delete(".shardpack/index/shard-000001.index")
    assert shardpack.repair(store).written == (".shardpack/index/shard-000001.index",)


def test_storage_options_beside_a_path_are_for_tars_elsewhere(tmp_path):
    urls = ["memory://repaired-elsewhere/a", "memory://repaired-elsewhere/b"]
    for url in urls:
        shardpack.pack([(url[-1], {"txt": "text"})], url)
    shardpack.merge(urls, tmp_path)
    for dataset in (tmp_path, str(tmp_path)):
        assert shardpack.repair(dataset, storage_options={"max_requests": 4}, allow_locations=True).written == ()


def test_progress_is_told(tmp_path):
    out = without_sidecars(make(tmp_path / "out"))
    seen = []
    shardpack.repair(out, jobs=1, progress=lambda *step: seen.append(step))
    total = sum(path.stat().st_size for path in out.glob("*.tar"))
    assert seen[-1] == ("index", total, total)


def test_a_repaired_dataset_can_be_edited(tmp_path):
    out = without_sidecars(make(tmp_path / "out"))
    shardpack.repair(out, jobs=1)
    assert shardpack.delete(out, ["k/001"]).generation == 2
    report = shardpack.repair(out)
    assert (report.num_samples, report.generation, report.written) == (9, 2, ())


@pytest.mark.parametrize("force", [False, True])
def test_a_dataset_of_a_newer_version_stays_as_it_is(tmp_path, force):
    out = make(tmp_path / "out", 2)
    for name in (".shardpack/manifest.json", ".shardpack/manifests/000001.json"):
        (out / name).write_text(edits.with_next_version((out / name).read_text()))
    before = contents(out)
    with pytest.raises(UnsupportedVersionError):
        shardpack.repair(out, force=force)
    assert contents(out) == before


def test_manifests_that_are_all_damaged_are_replaced_with_force_only(tmp_path):
    out = make(tmp_path / "out", 4)
    expected = samples(out)
    for name in (".shardpack/manifest.json", ".shardpack/manifests/000001.json"):
        (out / name).write_text("{}")
    with pytest.raises(OutputExistsError, match="--force"):
        shardpack.repair(out)
    assert shardpack.repair(out, force=True, jobs=1).num_samples == 4
    assert samples(out) == expected


def test_bad_options(tmp_path):
    with pytest.raises(OptionError, match="jobs is 0"):
        shardpack.repair(tmp_path, jobs=0)


def numbered_four(folder):
    with shardpack.open(folder) as ds:
        return list(ds.where("number = 4").keys())


def test_a_label_table_has_rows_of_what_is_saved(tmp_path):
    pytest.importorskip("duckdb")
    out = make(tmp_path / "out", 7)
    shardpack.table(out)
    cut(out / "shard-000001.tar", (out / "shard-000001.tar").stat().st_size - 1500)
    report = shardpack.repair(out)
    assert report.lost == ("shard-000001.tar: all samples but 2; the tar breaks off",)
    assert numbered_four(out) == ["k/004"]
    with shardpack.open(out) as ds:
        assert ds.table(columns=["key"])["key"].to_pylist() == list(ds.keys())
    assert not [problem for problem in shardpack.verify(out).problems if problem.kind == "table"]
    assert shardpack.table(out, force=True).generation == 4, "rows of deleted samples need no tar"
    assert numbered_four(out) == ["k/004"]


def test_a_label_table_that_is_lost_is_told(tmp_path):
    pytest.importorskip("pyarrow")
    out = make(tmp_path / "out", 7)
    shardpack.table(out)
    for path in (out / ".shardpack" / "table").iterdir():
        path.unlink()
    cut(out / "shard-000001.tar", (out / "shard-000001.tar").stat().st_size - 1500)
    report = shardpack.repair(out)
    assert report.lost[0].endswith('the label table; make it again with "shardpack table --force"')
    assert report.generation == 3
    assert shardpack.table(out).generation == 4
    assert numbered_four(out) == ["k/004"]


class KilledError(BaseException):
    """Ends a process, as no code catches it."""


class Killing(MemoryStore):
    """A store in memory that ends the process at a write."""

    left = 1 << 30

    def _count(self):
        self.left -= 1
        if self.left < 0:
            raise KilledError

    def put(self, *arguments, **options):
        self._count()
        super().put(*arguments, **options)

    def create(self, *arguments, **options):
        self._count()
        super().create(*arguments, **options)

    def delete(self, *arguments, **options):
        self._count()
        super().delete(*arguments, **options)


def objects(store):
    """Return what is in a store, but for the note of an edit that is done, which harms nobody."""
    return {name: bytes(store.get(name)) for name in store.names() if "/tmp/repair-" not in name}


@pytest.mark.parametrize("kind", ["rebuilt", "files", "broken tar"])
def test_a_repair_that_is_killed_at_any_write_goes_on(tmp_path, kind):
    files = contents(make(tmp_path / "out", 7))
    if kind == "rebuilt":
        files = {name: data for name, data in files.items() if name.endswith(".tar")}
        files["shard-000001.tar"] = files["shard-000001.tar"][:-1500]
    elif kind == "files":
        files = {name: data for name, data in files.items() if "/index/" not in name and "keys-" not in name}
    else:
        files["shard-000001.tar"] = files["shard-000001.tar"][:-1500]
    whole = Killing(files)
    shardpack.repair(whole)
    expected = objects(whole)
    for at in range(100):
        store = Killing(files)
        store.left = at
        try:
            shardpack.repair(store)
        except KilledError:
            store.left = 1 << 30
            shardpack.repair(store)
            assert objects(store) == expected, at
        else:
            assert objects(store) == expected
            break
    else:
        raise AssertionError("more writes than expected")
