"""A dataset within another: what `pack` writes is what it always writes, under other names, and is finished once."""

from __future__ import annotations

import itertools
import pickle

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.generations import newest_undamaged
from shardpack.commit.namespace_target import NamespaceTarget, tagged_index_path
from shardpack.commit.open_target import target_of
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError
from shardpack.format.layout import INDEX_FOLDER, MANIFEST_PATH, RUN_PATH, index_path, tagged_shard_name
from shardpack.format.shard_table import ShardTable
from shardpack.storage.local import LocalStore
from shardpack.storage.subfolder import subfolder
from shardpack.write.pack import pack_source
from shardpack.write.place import NewDataset
from shardpack.write.request import PackRequest
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.fakes import file_contents, write_files

TAG, FOLDER = "g000002-5f3a9c01", ".shardpack/tmp/append-0c4d77ab"
SAMPLES = {f"a/{i}": {"jpg": bytes([i]) * (50 + i), "txt": b"t" * i} for i in range(5)}
OUTER = {"shard-000000.tar": b"the outer dataset's", ".shardpack/manifest.json": b"{}"}


class Inside(NewDataset):
    """Packs into a namespace of a store that holds something else."""

    def target(self, *, work_dir=None, shared=False):
        outer = target_of(self.store, work_dir=work_dir, shared=True)
        inner = target_of(subfolder(self.store, FOLDER), work_dir=work_dir, shared=shared)
        return NamespaceTarget(outer, inner, tag=TAG)


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    made = LocalStore(tmp_path / "out") if request.param == "folder" else WatchedStore()
    for name, data in OUTER.items():
        made.put(name, data)
    return made


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", SAMPLES)


WAYS = {
    "planned": {},
    "chunked": {"compress": {"txt": "zstd:3"}},
    "framed": {"compress": {"shards": "zstd:3"}},
}


def request(**options):
    return PackRequest(layout="files", max_shard_samples=2, jobs=1, force=True, **options)


def contents(store):
    return {name: bytes(store.get(name)) for name in store.names()}


def made_elsewhere(source, tmp_path, options):
    """Return the shards and indexes that an ordinary dataset has, by the names that they get in the namespace."""
    pack_source(source, tmp_path / "usual", request(**options))
    files = file_contents(tmp_path / "usual")
    named = {tagged_shard_name(name, TAG): data for name, data in files.items() if ".tar" in name and "/" not in name}
    paths = {name: data for name, data in files.items() if name.startswith(INDEX_FOLDER)}
    return named | {tagged_index_path(name, TAG): data for name, data in paths.items()}


def outside(store):
    return {name: data for name, data in contents(store).items() if not name.startswith(f"{FOLDER}/")}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_packed_is_under_other_names(store, source, tmp_path, way):
    if way != "planned":
        pytest.importorskip("zstandard")
    report = pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
    assert outside(store) == OUTER | made_elsewhere(source, tmp_path, WAYS[way])
    target = Inside(store).target()
    manifest = newest_undamaged(target).manifest
    table = ShardTable.whole(manifest, target.read)
    assert [info.num_bytes for info in table] == [target.size(info.name) for info in table]
    assert (manifest.num_samples, report.num_samples, manifest.num_shards) == (5, 5, 3)
    assert manifest == shardpack.open(tmp_path / "usual").manifest


def test_a_writer_writes_there(store):
    samples = [(key, {"bin": fields["jpg"]}) for key, fields in SAMPLES.items()]
    for _ in range(2):  # an iterable starts over
        pack_source(samples, "unused", PackRequest(max_shard_samples=2, force=True), place=Inside(store))
    assert {name for name in outside(store) if name.endswith(".tar")} == {
        "shard-000000.tar",
        *(f"shard-{TAG}-{number:06d}.tar" for number in range(3)),
    }


@pytest.mark.parametrize("way", WAYS)
def test_what_is_finished_is_not_made_again(store, source, way):
    if way != "planned":
        pytest.importorskip("zstandard")
    pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
    before = contents(store)
    first = pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
    assert (first.resumed_shards, first.num_samples) == (3, 5)
    assert contents(store) == before
    (source / "a" / "0.jpg").write_bytes(b"another")
    again = pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
    assert again.resumed_shards < 3
    assert contents(store) != before


@pytest.mark.parametrize("way", ["planned", "chunked"])
def test_it_is_continued_after_any_kill(source, tmp_path, way):
    if way != "planned":
        pytest.importorskip("zstandard")
    expected = OUTER | made_elsewhere(source, tmp_path, WAYS[way])
    for step in itertools.count(1):
        store = WatchedStore()
        for name, data in OUTER.items():
            store.put(name, data)
        kill_at(store, step)
        try:
            pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
        except KilledError:
            killed = True
        else:
            killed = False
        heal(store)
        pack_source(source, "unused", request(**WAYS[way]), place=Inside(store))
        assert outside(store) == expected
        if not killed:
            break
    assert step > 10


def test_only_its_own_folder_is_listed(source):
    listed = []

    class Listing(WatchedStore):
        def names(self, below=""):
            listed.append(below)
            return super().names()

        def names_below(self, folder):
            listed.append(folder)
            return [name for name in super().names() if name.startswith(f"{folder}/")]

    pack_source(source, "unused", request(), place=Inside(Listing()))
    assert set(listed) == {FOLDER}


def test_of_two_at_once_the_first_gives_way(store):
    target, other = Inside(store).target(), Inside(store).target()
    first = Transaction.new_dataset(target, "pack")
    if store.folder is not None:
        with pytest.raises(OutputExistsError, match="another process"):
            Transaction.new_dataset(other, "pack")
        first.release()
        return
    with Transaction.new_dataset(other, "pack"), pytest.raises(OutputExistsError, match="another process"):
        first.check()
    first.release()


def test_files_are_where_they_belong(tmp_path):
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True)
    target = Inside(LocalStore(tmp_path)).target()
    lock = target.lock()
    target.put(index_path("shard-000000.tar"), [b"index"])
    target.put(MANIFEST_PATH, [b"inner"])
    target.create(".shardpack/manifests/000001.json", [b"one"])
    target.replace(MANIFEST_PATH, b"inner 2")
    target.fsync()
    assert file_contents(tmp_path) == {
        f".shardpack/index/shard-{TAG}-000000.index": b"index",
        f"{FOLDER}/.shardpack/manifest.json": b"inner 2",
        f"{FOLDER}/.shardpack/manifests/000001.json": b"one",
    }
    assert target.read(index_path("shard-000000.tar")) == b"index"
    assert target.size("shard-000000.tar") is None
    target.add(["shard-000000.tar"])
    target.put(RUN_PATH, [b"run"])
    target.delete([RUN_PATH, MANIFEST_PATH, index_path("shard-000000.tar")])
    assert (target.read(RUN_PATH), target.read(MANIFEST_PATH)) == (b"run", None)
    assert target.names_below(".shardpack/manifests") == [".shardpack/manifests/000001.json"]
    assert (target.location, target.moves_files, target.can_create) == (str(tmp_path), True, True)
    lock.release()


@pytest.mark.parametrize(
    ("path", "location", "expected"),
    [
        ("shard-000000.tar", 0, f"{INDEX_FOLDER}/shard-{TAG}-000000.index"),
        ("train-000012-03.tar", 0, f"{INDEX_FOLDER}/train-{TAG}-000012-03.index"),
        ("shard-000000.tar.zst", 2, f"{INDEX_FOLDER}/2/shard-{TAG}-000000.tar.zst.index"),
    ],
)
def test_an_index_has_the_name_of_its_shard(path, location, expected):
    assert tagged_index_path(index_path(path), TAG, location) == expected


def test_workers_elsewhere_open_the_same(tmp_path):
    target = NamespaceTarget(FolderTarget(str(tmp_path)), FolderTarget(str(tmp_path / FOLDER)), tag=TAG)
    lock = target.lock()
    target.put(MANIFEST_PATH, [b"inner"])
    opened = pickle.loads(pickle.dumps(target.opener()))()
    assert opened.read(MANIFEST_PATH) == b"inner"
    assert opened.scratch.path.startswith(str(tmp_path / FOLDER))
    opened.drop_scratch()
    lock.release()
