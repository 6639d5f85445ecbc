"""Where the newest manifest and its copy are both lost, what is given up is said first, and its tars stay."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.commit.edit_folder import folder_of_edit
from shardpack.commit.open_target import target_of
from shardpack.edit.lost_generations import find_lost_generations
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.format.manifest_json import parse_manifest
from shardpack.storage.memory import MemoryStore
from tests.commit.stores import KilledError, WatchedStore, heal
from tests.edit.lost_files import contents, make, restored, samples

NOTE = b'{"tag": "g000002-0badcafe", "commits": null, "totals": {}}'


@pytest.fixture(scope="module")
def edited(tmp_path_factory):
    """The files of a dataset whose second generation appended two samples, and whose third one has a layer."""
    out = make(tmp_path_factory.mktemp("lost") / "out", 4)
    shardpack.append([(f"more/{n}", {"bin": b"x", "json": {"number": n}}) for n in range(2)], out)
    shardpack.relabel(out, {"k/001": {"number": 10}})
    return contents(out)


def without(files, *names):
    return {name: data for name, data in files.items() if name not in names}


@pytest.mark.parametrize("copy", [None, b"{"])
def test_going_back_asks_for_force_and_says_what_it_costs(edited, tmp_path, copy):
    files = without(edited, MANIFEST_PATH, manifest_path(2), manifest_path(3))
    out = restored(files if copy is None else {**files, MANIFEST_PATH: copy}, tmp_path / "out")
    before = contents(out)
    for dry_run in (True, False):
        report = shardpack.repair(out, dry_run=dry_run)
        assert (report.generation, report.written) == (1, ())
        lost, tars, layer = report.lost
        assert lost.startswith("generation 3: its manifest is lost; restore .shardpack/manifests/000003.json from a")
        assert lost.endswith("or go back to generation 1 with --force")
        assert tars.startswith("1 tar(s) with 2 samples, which no generation would then name: shard-g000002-")
        assert layer.startswith("the layer .shardpack/layers/g000003-")
        assert contents(out) == before
    report = shardpack.repair(out, force=True)
    assert (report.generation, report.num_samples, report.written) == (1, 4, (MANIFEST_PATH,))
    assert report.lost[0] == "generation 3: its manifest is lost; what is left is generation 1"
    assert [key for key, _ in samples(out)] == [f"k/{n:03d}" for n in range(4)]
    report = shardpack.repair(out)
    assert (report.written, report.lost) == ((), ())


@pytest.mark.parametrize("segment", [True, False])
def test_tars_of_a_generation_that_is_given_up_survive_gc(edited, tmp_path, segment):
    gone = [name for name in edited if "/shards-000002" in name and not segment]
    out = restored(without(edited, MANIFEST_PATH, manifest_path(2), manifest_path(3), *gone), tmp_path / "out")
    shardpack.repair(out, force=True)
    (layer,) = shardpack.gc(out, older_than=0, dry_run=True).layers
    assert layer.startswith(".shardpack/layers/g000003-"), "a layer goes, and is named"
    assert shardpack.gc(out, older_than=0).layers == (layer,)
    (tar,) = out.glob("shard-g000002-*.tar")
    assert [(problem.kind, problem.shard) for problem in shardpack.verify(out).problems] == [("stray", tar.name)]
    (tmp_path / "again").mkdir()
    tar.rename(tmp_path / "again" / tar.name)
    shardpack.index(tmp_path / "again")
    shardpack.append(tmp_path / "again", out)
    with shardpack.open(out) as ds:
        assert list(ds.keys())[4:] == ["more/0", "more/1"]


def test_samples_and_splits_that_come_back_are_told(edited, tmp_path):
    out = restored(edited, tmp_path / "out")
    shardpack.delete(out, ["k/001"])
    shardpack.split(out, fraction={"train": 0.5, "val": 0.5})
    for name in (MANIFEST_PATH, manifest_path(4), manifest_path(5)):
        (out / name).unlink()
    for force, visible in ((False, "would then be"), (True, "are")):
        report = shardpack.repair(out, force=force)
        assert (report.generation, report.num_samples) == (3, 6)
        _, deleted, splits = report.lost
        assert deleted.startswith("which samples were deleted: .shardpack/deleted-000004-")
        assert deleted.endswith(f".index; they {visible} visible again: delete them again")
        assert splits.startswith("named splits: .shardpack/splits-000005-")
        assert splits.endswith('.index; make them again with "shardpack split"')


def test_the_newest_manifest_alone_is_no_loss(edited, tmp_path):
    for name in (MANIFEST_PATH, manifest_path(3)):
        out = restored(without(edited, name), tmp_path / "out")
        report = shardpack.repair(out)
        assert (report.written, report.lost, report.generation) == ((name,), (), 3)
        assert contents(out) == edited


def found_in(files):
    store = MemoryStore(files)
    manifest = parse_manifest(files[manifest_path(1)])
    return find_lost_generations(target_of(store), manifest, [])


def test_what_a_killed_edit_left_is_no_generation(edited):
    tar, index = "shard-g000002-0badcafe-000000.tar", ".shardpack/index/shard-g000002-0badcafe-000000.index"
    first = {name: data for name, data in edited.items() if "00000" not in name or name == manifest_path(1)}
    first[MANIFEST_PATH] = first[manifest_path(1)]
    assert found_in({**first, tar: b"", index: b"", ".shardpack/keys-000002-0badcafe.index": b""}) is None
    lost = {**without(first, MANIFEST_PATH), ".shardpack/keys-000002-0badcafe.index": b"", tar: b"", index: b"12"}
    found = found_in(lost)
    assert (found.left, found.newest, found.tars, found.num_samples) == (1, 2, (tar,), 0)
    found = found_in({**lost, ".shardpack/tmp/append-01234567/edit.json": NOTE})
    assert (found.newest, found.tars) == (2, ())
    assert next(found.sentences(goes_back=False)) == (
        "generation 2: its manifest is lost, or was never made, as an edit was killed that left "
        ".shardpack/tmp/append-01234567; restore .shardpack/manifests/000002.json from a backup, or go back to "
        "generation 1 with --force; then run that edit again"
    )
    assert found.in_the_way == [], "the edit goes on with what it has finished"


def test_an_edit_that_was_killed_right_before_its_manifest_runs_again(tmp_path):
    """And then the copy of the manifest is lost: nothing tells whether that manifest was made, and is lost, too."""
    store, more = WatchedStore(), tmp_path / "more"
    shardpack.pack([(key, {"bin": b"1"}) for key in "abc"], store.url)
    shardpack.pack([("d", {"bin": b"2"})], more)
    first = store.contents()[MANIFEST_PATH]

    def die(_, path):
        if path == manifest_path(2):
            raise KilledError

    store.before = die
    with pytest.raises(KilledError):
        shardpack.append(more, store.url)
    heal(store)
    store.delete(MANIFEST_PATH)
    (folder,) = {folder for name in store.names() if (folder := folder_of_edit(name)) is not None}
    _, lost = shardpack.verify(store.url).problems[:2]
    assert lost.shard == manifest_path(2)
    assert "or an edit was killed before it made one" in lost.message
    said = shardpack.repair(store.url).lost[0]
    assert f"was never made, as an edit was killed that left {folder}" in said
    shardpack.repair(store.url, force=True)
    assert store.contents()[MANIFEST_PATH] == first
    assert not [name for name in store.names() if folder_of_edit(name)]
    shardpack.gc(store.url, older_than=0)
    assert [name for name in store.names() if name.startswith("shard-g000002-")], "its tar stays"
    assert shardpack.append(more, store.url).added == 1
    with shardpack.open(store.url) as ds:
        assert list(ds.keys()) == ["a", "b", "c", "d"]
