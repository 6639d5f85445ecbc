"""`index` on tars that have indexes: repairs the newest generation, or adds the next one."""

from __future__ import annotations

import itertools
import pickle
import shutil

import pytest

import shardpack
from shardpack.errors import OutputExistsError
from shardpack.format.layout import index_path
from shardpack.format.manifest_json import parse_manifest
from shardpack.storage.protocols import Version
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import contents, published
from tests.format.builders import entry

END = bytes(1024)
TAR = entry(b"a.jpg", b"1") + entry(b"a.json", b"{}") + entry(b"b.jpg", b"2") + END
OTHER = entry(b"c.jpg", b"3") + END


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "x.tar").write_bytes(TAR)
    (tmp_path / "y.tar").write_bytes(OTHER)
    shardpack.index(tmp_path)
    return tmp_path


def test_each_generation_can_be_opened(folder):
    shardpack.index(folder, force=True, ignore=["*.json"])
    for number, names in ((1, ["jpg", "json"]), (2, ["jpg"])):
        ds = shardpack.open(folder, generation=number)
        assert (ds.manifest.generation, fields(ds)[0]) == (number, ("a", names))
        assert pickle.loads(pickle.dumps(ds)).manifest == ds.manifest
    sidecars = folder.rename(folder.with_name("sidecars"))
    folder.mkdir()
    for tar in sidecars.glob("*.tar"):
        tar.rename(folder / tar.name)
    assert fields(shardpack.open(folder, sidecars=sidecars, generation=1))[0] == ("a", ["jpg", "json"])


def generation(folder):
    return shardpack.open(folder).manifest.generation


def fields(ds):
    return [(sample.key, sorted(sample)) for sample in ds]


def test_indexed_as_before_nothing_changes(folder):
    before = contents(folder)
    report = shardpack.index(folder, force=True)
    assert (contents(folder), list(report.changed)) == (before, [])


def test_indexed_otherwise_it_is_the_next_generation(folder):
    """And who reads the one before goes on, also from a pickle."""
    before, old = contents(folder), shardpack.open(folder)
    pickled = pickle.dumps(old)
    shardpack.index(folder, force=True, ignore=["*.json"])
    ds = shardpack.open(folder)
    assert (ds.manifest.generation, ds.manifest.parent.generation) == (2, 1)
    assert fields(ds) == [("a", ["jpg"]), ("b", ["jpg"]), ("c", ["jpg"])]
    for reader in (old, pickle.loads(pickled)):
        assert fields(reader) == [("a", ["jpg", "json"]), ("b", ["jpg"]), ("c", ["jpg"])]
    after = contents(folder)
    kept = {name: data for name, data in before.items() if name != ".shardpack/manifest.json"}
    assert after.items() >= kept.items(), "what a manifest names is never changed"
    new = {info.name: info.index_path for info in ds.shards}
    assert new == {"x.tar": index_path("x.tar", 1), "y.tar": index_path("y.tar")}
    assert shardpack.verify(folder, full=True).ok


def test_generations_go_on_from_each_other(folder):
    for number, ignore in enumerate((["*.json"], ["b.jpg"], ["*.json"]), start=2):
        shardpack.index(folder, force=True, ignore=ignore)
        assert generation(folder) == number
        assert shardpack.verify(folder, full=True).ok
    shardpack.index(folder, force=True, ignore=["*.json"])
    assert generation(folder) == 4


def test_a_tar_more_is_the_next_generation(folder):
    (folder / "z.tar").write_bytes(entry(b"d.jpg", b"4") + END)
    shardpack.index(folder, force=True)
    ds = shardpack.open(folder)
    assert (ds.manifest.generation, ds.manifest.locations, len(ds)) == (2, (".",), 4)
    assert shardpack.verify(folder, full=True).ok


def test_one_more_index_in_its_folder_is_a_stray(folder):
    shardpack.index(folder, force=True, ignore=["*.json"])
    stray = folder / index_path("z.tar", 1)
    stray.write_bytes(b"1")
    assert [problem.shard for problem in shardpack.verify(folder).problems] == [index_path("z.tar", 1)]


@pytest.mark.parametrize("damaged", ["manifest.json", "manifests/000001.json", "shards-*", "keys-*", "index/x.index"])
def test_what_is_damaged_is_mended_in_its_generation(folder, damaged):
    before = contents(folder)
    (path,) = (folder / ".shardpack").glob(damaged)
    path.write_bytes(b"?")
    shardpack.index(folder, force=True)
    assert contents(folder) == before


def test_a_copy_that_was_missed_is_healed(folder):
    """A run was killed between the manifest of a generation and its copy."""
    first = (folder / ".shardpack/manifest.json").read_bytes()
    shardpack.index(folder, force=True, ignore=["*.json"])
    before = contents(folder)
    (folder / ".shardpack/manifest.json").write_bytes(first)
    shardpack.index(folder, force=True, ignore=["*.json"])
    assert contents(folder) == before
    (folder / ".shardpack/manifest.json").write_bytes(first)
    shardpack.index(folder, force=True)
    manifest = parse_manifest((folder / ".shardpack/manifest.json").read_bytes())
    assert (manifest.generation, manifest.parent.generation) == (3, 2)
    assert shardpack.verify(folder, full=True).ok


class Bucket(WatchedStore):
    def version(self, path):
        data = self.contents()[path]
        return Version(len(data), f"v{hash(data)}")


def killed(*, force):
    """Yield a bucket for each change at which indexing was killed."""
    for step in itertools.count(1):
        store = Bucket()
        store.put("x.tar", TAR)
        store.put("y.tar", OTHER)
        if force:
            shardpack.index(store.url)
        kill_at(store, step)
        try:
            shardpack.index(store.url, force=force, ignore=["*.json"])
        except KilledError:
            heal(store)
            yield store
        else:
            assert step > 10
            return


def test_killed_after_publishing_the_same_command_succeeds():
    complete = 0
    for store in killed(force=False):
        if is_ended := published_and_clean(store):
            break
        complete += ".shardpack/manifest.json" in store.contents()
        report = shardpack.index(store.url, ignore=["*.json"])
        assert (report.num_samples, report.samples_per_field) == (3, {"jpg": 3})
        assert not [name for name in store.contents() if "/tmp/" in name or name.endswith("run.json")]
        assert generation(store.url) == 1
        assert shardpack.verify(store.url, full=True).ok
        with pytest.raises(OutputExistsError, match=r"pass force=True \(--force\)"):
            shardpack.index(store.url, ignore=["*.json"])
    assert complete > 2
    assert is_ended, "after the last change only"


def published_and_clean(store):
    return ".shardpack/manifest.json" in store.contents() and published(store.contents()) == store.contents()


def test_killed_after_publishing_another_command_is_refused():
    for store in killed(force=False):
        if ".shardpack/manifest.json" in store.contents():
            with pytest.raises(OutputExistsError, match=r"pass force=True \(--force\)"):
                shardpack.index(store.url)


def test_a_kill_does_not_harm_the_generation_before():
    seen = set()
    for store in killed(force=True):
        ds = shardpack.open(store.url)
        seen.add(ds.manifest.generation)
        with_json = [("a", ["jpg", "json"]), ("b", ["jpg"]), ("c", ["jpg"])]
        without = [("a", ["jpg"]), ("b", ["jpg"]), ("c", ["jpg"])]
        assert fields(ds) == (with_json if ds.manifest.generation == 1 else without)
        shardpack.index(store.url, force=True, ignore=["*.json"])
        assert generation(store.url) == 2
        assert shardpack.verify(store.url, full=True).ok
    assert seen == {1, 2}


def test_without_the_shard_table_no_index_of_an_older_generation_is_replaced(folder):
    first = (folder / ".shardpack/manifest.json").read_bytes()
    shardpack.index(folder, force=True, ignore=["*.json"])
    before = contents(folder)
    (table,) = (folder / ".shardpack").glob("shards-000002-*")
    table.write_bytes(b"?")
    shardpack.index(folder, force=True, ignore=["*.json"])
    assert contents(folder) == before
    table.write_bytes(b"?")
    shardpack.index(folder, force=True, ignore=["b.jpg"])
    ds = shardpack.open(folder)
    assert (ds.manifest.generation, fields(ds)) == (3, [("a", ["jpg", "json"]), ("c", ["jpg"])])
    (folder / ".shardpack/manifest.json").write_bytes(first)
    assert fields(shardpack.open(folder)) == [("a", ["jpg", "json"]), ("b", ["jpg"]), ("c", ["jpg"])]


@pytest.mark.parametrize("command", ["pack", "copy"])
def test_a_packed_dataset_of_two_generations_is_replaced_as_one_of_a_single(tmp_path, command):
    out, other = tmp_path / "out", tmp_path / "other"
    for place, keys in ((out, "ab"), (other, "c")):
        shardpack.pack([(key, {"jpg": b"1", "json": b"{}"}) for key in keys], place)
    shardpack.index(out, force=True, ignore=["*.json"])
    assert (out / index_path("shard-000000.tar", 1)).exists()
    if command == "pack":
        shardpack.pack([("c", {"jpg": b"1", "json": b"{}"})], out, force=True)
    else:
        shardpack.copy(other, out, force=True)
    assert contents(out) == contents(other)


# The label table


@pytest.fixture
def tabled(tmp_path):
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for number in range(4):
            writer.write(f"{number}", {"json": {"n": number}}, split=("train", "val")[number // 2])
    shardpack.table(tmp_path)
    return tmp_path


def test_a_table_whose_rows_are_those_of_the_tars_stays(tabled):
    report = shardpack.index(tabled, force=True)
    ds = shardpack.open(tabled)
    assert (report.table_dropped, len(ds.where("n > 1")), len(ds.where("split = 'val'"))) == (False, 2, 2)
    shardpack.index(tabled, force=True)
    assert shardpack.open(tabled).manifest == ds.manifest


def test_other_splits_drop_the_table(tabled):
    (tabled / ".nv-meta").mkdir()
    stated = "split_parts:\n  train:\n  - val-000000.tar\n  val:\n  - train-000000.tar\n"
    (tabled / ".nv-meta" / "split.yaml").write_text(stated)
    assert shardpack.index(tabled, force=True).table_dropped
    assert shardpack.open(tabled).manifest.table == ()
    assert not shardpack.index(tabled, force=True).table_dropped, "there was none"


@pytest.mark.parametrize("change", ["longer", "damaged", "lost"])
def test_splits_that_are_dropped_are_named(tmp_path, change):
    shardpack.pack([(f"{n}", {"json": {"n": n}}) for n in range(8)], tmp_path)
    shardpack.split(tmp_path, {"train": 0.5, "val": 0.5})
    (file,), (tar,) = (tmp_path / ".shardpack").glob("splits-*"), tmp_path.glob("*.tar")
    if change == "longer":
        tar.write_bytes(tar.read_bytes() + bytes(512))
    elif change == "damaged":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    assert shardpack.index(tmp_path, force=True).splits_dropped == ("train", "val")
    assert shardpack.index(tmp_path, force=True).splits_dropped == ()


def test_without_checksums_the_table_is_dropped(tmp_path):
    """A label may have changed, in a tar of the same layout."""
    shardpack.pack([("a", {"bin": bytes(3 << 20), "json": b"{}"})], tmp_path)  # so large that only headers are read
    shutil.rmtree(tmp_path / ".shardpack")
    shardpack.index(tmp_path, checksums=False)
    shardpack.table(tmp_path)
    assert shardpack.index(tmp_path, checksums=False, force=True).table_dropped


@pytest.mark.parametrize("change", ["another tar", "other fields", "lost"])
def test_a_table_that_is_not_that_of_the_tars_is_dropped(tabled, change):
    if change == "another tar":
        (tabled / "x.tar").write_bytes(TAR)
    elif change == "lost":
        (file,) = shardpack.open(tabled).manifest.table
        (tabled / ".shardpack" / file.name).unlink()
    else:
        (tabled / "val-000000.tar").write_bytes(OTHER)
    assert shardpack.index(tabled, force=True).table_dropped
    assert shardpack.open(tabled).manifest.table == ()
    assert len(shardpack.open(tabled, generation=2).manifest.table) == 1
