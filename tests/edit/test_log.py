"""The history tells what each generation changed, as far back as manifests are kept."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.errors import CorruptManifestError, DatasetNotFoundError
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.format.manifest import LayerRef, PositionsFile, SplitsFile, TableFile
from shardpack.format.next_generation import next_generation
from tests.commit.stores import WatchedStore

LAYER = LayerRef("captions", 1, 700, 7, ("txt",), PositionsFile("layer-000002-00000007.index", 100, 7))
SPLITS = SplitsFile("splits-000002-00000007.index", 100, 7, {"train": 2, "val": 1})
TABLE = (TableFile("table/000002-00000007.parquet", 100, 7, 3),)


@pytest.fixture
def store():
    store = WatchedStore()
    shardpack.pack([(key, {"bin": b"1"}) for key in "abc"], store.url)
    return store


def commit(store, command, **changes):
    """Make a generation whose manifest differs in these values."""
    base = open_base(store.url)
    with base.begin("table", run_digest=repr(changes)) as transaction:
        manifest, files = next_generation(
            replace(base.manifest, **changes), base.text, edit={} if command is None else {"command": command}
        )
        transaction.commit(manifest, files)


def test_each_generation_has_an_entry(store):
    shardpack.delete(store.url, ["b"])
    shardpack.delete(store.url, ["a", "c"])
    third, second, first = shardpack.log(store.url)
    assert [entry.generation for entry in (first, second, third)] == [1, 2, 3]
    assert [entry.command for entry in (first, second, third)] == ["pack", "delete", "delete"]
    assert [entry.changes for entry in (first, second, third)] == [
        ("3 samples in 1 shard",),
        ("1 sample deleted",),
        ("2 samples deleted",),
    ]
    assert [(entry.num_samples, entry.deleted, entry.added) for entry in (first, second, third)] == [
        (3, 0, 0), (2, 1, 0), (0, 2, 0),
    ]  # fmt: skip
    assert first.fingerprint == shardpack.open(store.url, generation=1).fingerprint
    assert len({entry.fingerprint for entry in (first, second, third)}) == 3
    assert first.fields == ("bin",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"layers": (LAYER,)}, "layer captions gives txt"),
        ({"splits": SPLITS}, "splits train, val"),
        ({"classes": ("x", "y")}, "2 classes instead of 0"),
        ({"table": TABLE}, "label table"),
    ],
)
def test_what_changed_is_said_and_what_is_undone(store, changes, said):
    commit(store, "attach", **changes)
    entry, _ = shardpack.log(store.url)
    assert (entry.command, entry.changes) == ("attach", (said,))
    commit(store, "detach", layers=(), splits=None, classes=None, table=())
    undone = shardpack.log(store.url)[0].changes
    assert len(undone) == 1
    assert undone[0] in {"layer captions detached", "splits removed", "0 classes instead of 2", "label table removed"}


def test_a_command_that_was_not_recorded_is_not_that_of_the_generation_before(store):
    shardpack.delete(store.url, ["b"])
    store.put(MANIFEST_PATH, store.contents()[manifest_path(2)])
    assert [entry.command for entry in shardpack.log(store.url)] == ["delete", "pack"]


def test_edits_that_record_the_same_are_told_each(store):
    for n in range(3):
        commit(store, "relabel", classes=(str(n),))
    assert [entry.command for entry in shardpack.log(store.url)] == ["relabel", "relabel", "relabel", "pack"]


def test_an_indexed_dataset_was_indexed(tmp_path):
    out = tmp_path / "out"
    with shardpack.ShardWriter(out) as writer:
        writer.write("a", {"bin": b"1"})
    with shardpack.ShardWriter(tmp_path / "more") as writer:
        writer.write("b", {"bin": b"1"})
    (out / "shard-000000.tar").rename(out / "a.tar")
    shutil.rmtree(out / ".shardpack")
    shardpack.index(out)
    shardpack.split(out, {"train": 1})
    (tmp_path / "more" / "shard-000000.tar").rename(out / "b.tar")
    shardpack.index(out, force=True)
    assert [entry.command for entry in shardpack.log(out)] == ["index", "split", "index"]


def test_sidecars_that_were_made_again_were_repaired(tmp_path):
    shardpack.pack([("a", {"bin": b"1"})], tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / ".shardpack")
    shardpack.repair(tmp_path / "out")
    assert [entry.command for entry in shardpack.log(tmp_path / "out")] == ["repair"]


@pytest.mark.parametrize(("copy", "said"), [(False, "of 2 datasets: ../a, ../b"), (True, "of 2 datasets, copied")])
def test_a_merged_dataset_names_its_sources(tmp_path, copy, said):
    for name in "ab":
        shardpack.pack([(name, {"bin": b"1"})], tmp_path / name)
    shardpack.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out", copy=copy)
    shardpack.append([("c", {"bin": b"1"})], tmp_path / "out")
    shardpack.copy(tmp_path / "out", tmp_path / "copy", history=copy)
    second, first = shardpack.log(tmp_path / "out")
    assert (first.command, first.changes) == ("merge", ("2 samples in 2 shards", said))
    assert second.command == "append"
    of_copy = [entry.command for entry in shardpack.log(tmp_path / "copy")]
    assert of_copy == (["append", "merge"] if copy else ["append"]), "a copy has the history of what it is of"


def test_it_ends_where_manifests_are_no_longer_kept(store):
    shardpack.delete(store.url, ["b"])
    shardpack.delete(store.url, ["a"])
    store.delete(manifest_path(1))
    third, second = shardpack.log(store.url)
    assert third.changes == ("1 sample deleted",)
    assert second.changes == ("3 samples in 1 shard", "1 of them deleted")


def test_a_damaged_manifest_hides_no_older_generation(store):
    for key in "ba":
        shardpack.delete(store.url, [key])
    store.put(manifest_path(2), b"damaged")
    third, second, first = shardpack.log(store.url)
    assert (third.command, third.changes) == ("delete", ("3 samples in 1 shard", "2 of them deleted"))
    assert (second.generation, second.command, second.num_samples) == (2, "damaged", 0)
    assert second.changes == (f"not known: {manifest_path(2)} is damaged; restore it",)
    assert (first.generation, first.command) == (1, "pack")
    store.put(manifest_path(1), b"damaged")
    assert [entry.command for entry in shardpack.log(store.url)] == ["delete", "damaged", "damaged"]


def test_it_costs_one_read_a_generation_and_lists_nothing(store, monkeypatch):
    shardpack.delete(store.url, ["b"])
    before = store.stats.snapshot().requests
    monkeypatch.setattr(WatchedStore, "names", lambda _: pytest.fail("listed"))
    assert len(shardpack.log(store)) == 2
    assert store.stats.snapshot().requests - before == 2


def test_refusals(store, tmp_path):
    with pytest.raises(DatasetNotFoundError):
        shardpack.log(tmp_path)
    store.put(MANIFEST_PATH, b"damaged")
    with pytest.raises(CorruptManifestError):
        shardpack.log(store.url)
