"""Files that a manifest names, made again byte for byte; what cannot be made again is named."""

from __future__ import annotations

import shutil

import pytest

import shardpack
from shardpack.edit.table import table
from shardpack.errors import OutputExistsError, ShardpackError
from shardpack.storage.memory import MemoryStore
from tests.edit.lost_files import contents, make, restored, samples


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """The files of a dataset with splits, appended and deleted samples, a label table."""
    out = make(tmp_path_factory.mktemp("files") / "out", 12, splits=("train", "val"))
    shardpack.append([(f"more/{n}", {"bin": b"x", "json": {"number": n}}) for n in range(4)], out, split="val")
    shardpack.delete(out, ["k/003"])
    table(out)
    return contents(out)


def named(files):
    return [name for name in files if name.startswith(".shardpack/") and "/manifests/" not in name]


def test_each_file_alone(edited, tmp_path):
    told, lost = [], []
    of_newest = [name for name in named(edited) if "splits-000001" not in name]  # which generation 2 made anew
    for name in of_newest:
        out = restored({other: data for other, data in edited.items() if other != name}, tmp_path / "out")
        report = shardpack.repair(out)
        if report.lost:
            (what,) = report.lost
            assert what.startswith(f"{name}: ")
            assert report.written == ()
            lost.append(name.partition("/")[2].partition("-")[0])
        else:
            assert contents(out) == edited
            assert report.written == (name,)
            told.append(name)
    assert sorted(lost) == ["deleted", "table/000004"]
    assert len(told) == len(of_newest) - 2


def test_all_indexes_tables_and_keys_at_once(edited, tmp_path):
    parts = ("/index/", "shards-", "keys-")
    kept = {name: data for name, data in edited.items() if not any(part in name for part in parts)}
    out = restored(kept, tmp_path / "out")
    assert shardpack.repair(out).lost == ()
    assert contents(out) == edited


def test_whole_datasets_stay_as_they_are(edited, tmp_path):
    out = restored(edited, tmp_path / "out")
    report = shardpack.repair(out)
    assert (report.written, report.lost, report.generation) == ((), (), 4)
    assert contents(out) == edited


def test_damaged_files_are_replaced_with_force_only(edited, tmp_path):
    name = ".shardpack/index/train-000000.index"
    damaged = edited | {name: edited[name][:-1] + b"?"}
    out = restored(damaged, tmp_path / "out")
    report = shardpack.repair(out)
    assert report.written == ()
    assert report.lost == (f"{name}: it is damaged, and could be made again; replace it with --force",)
    assert contents(out) == damaged
    assert shardpack.repair(out, force=True, dry_run=True).written == (name,)
    assert contents(out) == damaged
    assert shardpack.repair(out, force=True).written == (name,)
    assert contents(out) == edited


@pytest.mark.parametrize("copy", [b"", b"{}", None])
def test_a_copy_of_the_manifest_that_is_lost_or_damaged(edited, tmp_path, copy):
    files = {name: data for name, data in edited.items() if name != ".shardpack/manifest.json"}
    out = restored(files if copy is None else {**files, ".shardpack/manifest.json": copy}, tmp_path / "out")
    assert shardpack.repair(out).written == (".shardpack/manifest.json",)
    assert contents(out) == edited


def test_a_newest_manifest_that_is_damaged_is_given_up_with_force_only(edited, tmp_path):
    damaged = {**edited, ".shardpack/manifest.json": b"{", ".shardpack/manifests/000004.json": b"{"}
    out = restored(damaged, tmp_path / "out")
    report = shardpack.repair(out)
    assert (report.generation, report.written) == (3, ())
    assert report.lost[0].startswith("generation 4: its manifest is damaged; restore .shardpack/manifests/000004.json")
    assert contents(out) == damaged
    assert shardpack.repair(out, force=True).written == (".shardpack/manifest.json",)
    assert shardpack.repair(out).lost == ()
    assert shardpack.delete(out, ["k/004"]).generation == 4


def test_splits_that_are_lost_are_replaced_as_is_told(tmp_path):
    out = make(tmp_path / "out", 4)
    shardpack.split(out, fraction={"train": 0.5, "val": 0.5})
    (path,) = (out / ".shardpack").glob("splits-*.index")
    path.unlink()
    (lost,) = shardpack.repair(out).lost
    assert lost.endswith('named splits; make them again with "shardpack split --force"')
    shardpack.split(out, fraction={"train": 0.5, "val": 0.5}, force=True)
    with shardpack.open(out) as ds:
        assert [len(ds.split(name)) for name in ("train", "val")] == [2, 2]


@pytest.mark.parametrize("damage", [None, b"x"])
def test_a_way_back_from_a_list_of_deleted_samples_that_is_lost(tmp_path, damage):
    out = make(tmp_path / "out", 4)
    shardpack.delete(out, ["k/001"])
    shardpack.append([("more", {"bin": b"x", "json": {"number": 0}})], out)
    (path,) = (out / ".shardpack").glob("deleted-*.index")
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(ShardpackError, match='run "shardpack repair", which makes it again or says what else'):
        samples(out)
    (lost,) = shardpack.repair(out).lost
    assert lost.endswith(
        "which samples were deleted; restore it, or give up what was edited after generation 1: move "
        ".shardpack/manifest.json away, and the manifests of later ones that are beside "
        '.shardpack/manifests/000001.json, then run "shardpack repair --force"'
    )
    for name in ("manifest.json", "manifests/000002.json", "manifests/000003.json"):
        (out / ".shardpack" / name).rename(tmp_path / name.replace("/", "-"))
    report = shardpack.repair(out, force=True)
    assert (report.generation, report.num_samples) == (1, 4)
    assert [key for key, _ in samples(out)] == ["k/000", "k/001", "k/002", "k/003"]
    assert len(list(out.glob("shard-g000003-*.tar"))) == 1
    assert shardpack.delete(out, ["k/001"]).generation == 2


@pytest.mark.parametrize("kind", ["folder", "store"])
@pytest.mark.parametrize("options", [{}, {"force": True}, {"dry_run": True}])
@pytest.mark.parametrize("damage", [b"x", None])
def test_a_generation_that_is_made_while_repair_reads_stays(edited, tmp_path, kind, options, damage):
    index = ".shardpack/index/shard-train-000001.index"
    files = {name: data for name, data in edited.items() if name != index} | ({index: damage} if damage else {})
    out = restored(files, tmp_path / "out") if kind == "folder" else MemoryStore(files)
    made = []

    def append(*_):
        if not made:
            late = ("late", {"bin": b"x", "json": {"number": 0}})
            made.append(shardpack.append([late], out, split="val"))

    with pytest.raises(OutputExistsError, match="changed by another process while repair read it"):
        shardpack.repair(out, progress=append, **options)
    report = shardpack.repair(out, force=True)
    assert (report.generation, report.num_samples, report.lost) == (5, 16, ())
    with shardpack.open(out) as ds:
        assert list(ds.keys())[-1] == "late"


def test_a_tar_that_is_another_one_gives_no_index(edited, tmp_path):
    out = restored(edited, tmp_path / "out")
    (out / ".shardpack/index/train-000000.index").unlink()
    shutil.copy(out / "train-000001.tar", out / "train-000000.tar")
    report = shardpack.repair(out)
    assert report.written == ()
    assert "'train-000000.tar' is not the one that was packed" in report.lost[0]
    (out / "train-000000.tar").unlink()
    assert "train-000000.index: " in shardpack.repair(out).lost[0]


def test_indexed_tars(tmp_path):
    tars = make(tmp_path / "out")
    for number, name in enumerate(sorted(path.name for path in tars.glob("*.tar"))):
        (tars / name).rename(tars / f"part{number}.tar")
    shutil.rmtree(tars / ".shardpack")
    shardpack.index(tars)
    before = contents(tars)
    for name in named(before):
        out = restored({other: data for other, data in before.items() if other != name}, tmp_path / "again")
        assert shardpack.repair(out).lost == ()
        assert contents(out) == before


@pytest.fixture
def inputs(tmp_path):
    """Two datasets whose tars have the same names."""
    for folder in ("a", "b"):
        with shardpack.ShardWriter(tmp_path / folder, max_shard_samples=3) as writer:
            for number in range(8):
                writer.write(f"{folder}/{number}", {"bin": folder.encode() * number})
    return [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("copy", [False, True])
def test_indexes_of_a_merged_dataset(inputs, tmp_path, copy):
    out = tmp_path / "out"
    shardpack.merge(inputs, out, copy=copy)
    before = contents(out)
    restored({name: data for name, data in before.items() if not name.endswith(".index") or "-000001-" in name}, out)
    report = shardpack.repair(out)
    assert (report.lost, len(report.written)) == ((), 6)
    assert contents(out) == before


@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("order", [1, -1])
def test_the_shard_table_of_a_merged_dataset(inputs, tmp_path, copy, order):
    out = tmp_path / "out"
    shardpack.append([("b/more", {"bin": b"x"})], inputs[1])
    shardpack.merge(inputs[::order], out, copy=copy)
    shardpack.append([("more", {"bin": b"x"})], out)
    before = contents(out)
    restored({name: data for name, data in before.items() if "/shards-00000" not in name}, out)
    report = shardpack.repair(out)
    assert (report.lost, len(report.written)) == ((), 2)
    assert contents(out) == before
    (out / ".shardpack/index").rename(tmp_path / "index")
    (table,) = (out / ".shardpack").glob("shards-000001-*")
    table.unlink()
    report = shardpack.repair(out)
    if not copy:  # nothing tells which of the inputs' tars are meant
        assert "nothing tells; restore this file" in report.lost[0]
    else:
        assert report.lost == ()
