"""Only what a packer made is replaced, and only if asked."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.overwrite import check_writable
from shardpack.errors import OutputExistsError, StorageError
from shardpack.format.assemble import encode_dataset
from shardpack.format.layout import MANIFEST_PATH
from shardpack.format.manifest_json import encode_manifest, parse_manifest
from shardpack.format.shard_table import ShardTable
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.request import PackRequest
from shardpack.write.shard_writer import ShardWriter
from shardpack.write.sharding import ShardLimits
from tests import edits
from tests.fakes import contents, inline_listing

OLD = {f"old-{i}": {"bin": b"old"} for i in range(6)}
NEW = {f"new-{i}": {"bin": b"new"} for i in range(3)}


def pack(out, samples, **options):
    return pack_plan(
        plan_shards(inline_listing(samples), ShardLimits(1 << 20, 2)),
        FolderTarget(str(out), seconds_to_wait=0.1),
        PackRequest(**options),
        recorded={},
    ).resumed_shards


def write(out, samples, **options):
    with ShardWriter(out, max_shard_samples=2, **options) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)


packers = pytest.mark.parametrize("packer", [pack, write])


@packers
def test_a_dataset_is_kept_without_force(tmp_path, packer):
    pack(tmp_path, OLD)
    before = contents(tmp_path)
    with pytest.raises(
        OutputExistsError,
        match=r"already holds a dataset; .*, or pass force=True \(--force\), which deletes its 6 samples",
    ):
        packer(tmp_path, NEW)
    assert contents(tmp_path) == before


@packers
def test_force_replaces_the_dataset_and_nothing_else(tmp_path, packer):
    pack(tmp_path / "out", OLD)
    packer(tmp_path / "new", NEW)
    others = {"notes.txt": b"1", "shard.tar": b"2", "shard-1.tar": b"3", "x-00000.tar": b"4", "photos/a.jpg": b"5"}
    for name, data in others.items():
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(data)
    packer(tmp_path / "out", NEW, force=True)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "new"), **others, "photos": None}


@packers
def test_force_is_fine_where_there_is_nothing(tmp_path, packer):
    packer(tmp_path / "out", NEW, force=True)
    assert len(shardpack.open(tmp_path / "out")) == 3


@packers
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "shard-000000.tar",
        ".shardpack/index/shard-000007.index",
        ".shardpack/keys-000001-0badcafe.index",
        ".shardpack/rejected.jsonl",
    ],
)
def test_files_of_unknown_origin_are_kept(tmp_path, packer, force, name):
    """Webdataset's writers use such names too."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(OutputExistsError, match=f"no manifest that says whose they are: '{name}'; move them away"):
        packer(tmp_path, NEW, force=force)
    assert {found: data for found, data in contents(tmp_path).items() if data} == {name: b"somebody's"}


@packers
def test_a_shard_beside_the_dataset_is_kept(tmp_path, packer):
    pack(tmp_path, OLD)
    (tmp_path / "shard-000099.tar").write_bytes(b"somebody's")
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"not in its manifest: 'shard-000099\.tar'; move them away"):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


@packers
def test_indexed_tars_are_kept(tmp_path, packer):
    """Their names may be ours, but they are not."""
    pack(tmp_path, OLD)
    shutil.rmtree(tmp_path / ".shardpack")
    shardpack.index(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match='tars that "shardpack index" found there, and packing would delete'):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


@packers
@pytest.mark.parametrize(
    "change", [lambda text: text[:100], lambda text: text.replace(b'"version": 1', b'"version": 99')]
)
def test_what_a_manifest_lists_must_be_known(tmp_path, packer, change):
    pack(tmp_path, OLD)
    path = tmp_path / ".shardpack/manifest.json"
    path.write_bytes(change(path.read_bytes()))
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"but not which files belong to it: .*; delete it, or choose another"):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


def test_force_replaces_what_edits_made(tmp_path):
    """Also shards of edits that were killed before they were committed; and no tar in another place."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    pack(out, OLD)
    edits.appended(out, {"more/1": {"bin": b"1"}})
    pack(out / ".shardpack/layers/g000003-00000001", {"old-0": {"txt": b"layer"}})
    edits.layered(out, out / ".shardpack/layers/g000003-00000001", [1])
    edits.deleted(out, 2, 5)
    (out / "train-g000005-5f3a9c01-000000.tar").write_bytes(b"of an edit that was killed")
    (out / ".shardpack/index/train-g000005-5f3a9c01-000000.index").write_bytes(b"which comes first")
    pack(elsewhere, {"z": {"bin": b"z"}})
    (out / "notes.txt").write_bytes(b"1")
    with pytest.raises(OutputExistsError, match="which deletes its 5 samples"):
        pack(out, NEW)
    pack(out, NEW, force=True)
    pack(tmp_path / "new", NEW)
    left = {name: data for name, data in contents(out).items() if data is not None}
    assert left == {
        **{name: data for name, data in contents(tmp_path / "new").items() if data is not None},
        "notes.txt": b"1",
    }


@packers
def test_a_tar_that_an_edit_of_another_dataset_named_is_kept(tmp_path, packer):
    pack(tmp_path, OLD)
    edit(tmp_path)
    (tmp_path / "shard-g000002-5f3a9c01-000000.tar").write_bytes(b"somebody's")
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"not in its manifest: 'shard-g000002-5f3a9c01-000000\.tar'; move"):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


def test_tars_of_earlier_generations_are_ours_those_in_other_places_are_not(tmp_path):
    pack(tmp_path, OLD)
    whole = parse_manifest((tmp_path / MANIFEST_PATH).read_bytes())
    shards = [
        replace(info, location=1)
        for info in ShardTable.whole(whole, lambda path: (tmp_path / path).read_bytes())
        if info.name != "shard-000000.tar"
    ]
    _, files = encode_dataset(
        shards,
        np.arange(whole.num_samples - 2, dtype=np.uint64),
        generation=2,
        packed_with=whole.packed_with,
        locations=[".", "../a"],
    )
    edits.write(tmp_path, {path: b"".join(parts) for path, parts in files})
    pack(tmp_path, NEW, force=True)
    assert len(shardpack.open(tmp_path)) == 3
    assert sorted(path.name for path in tmp_path.glob("*.tar")) == ["shard-000000.tar", "shard-000001.tar"]
    (tmp_path / "shard-000002.tar").write_bytes(b"somebody's")
    shutil.rmtree(tmp_path / ".shardpack/manifests")
    edits.write(tmp_path, {path: b"".join(parts) for path, parts in files})
    with pytest.raises(OutputExistsError, match=r"not in its manifest: 'shard-000000\.tar', 'shard-000001\.tar'"):
        pack(tmp_path, NEW, force=True)


def _rename_shard(folder, old, new):
    """Write shard table and manifest anew, with one shard called otherwise."""
    whole = parse_manifest((folder / MANIFEST_PATH).read_bytes())
    table = ShardTable.whole(whole, lambda path: (folder / path).read_bytes())
    shards = list(table)
    shards = [replace(info, name=new) if info.name == old else info for info in shards]
    _, files = encode_dataset(shards, np.arange(whole.num_samples, dtype=np.uint64), packed_with=whole.packed_with)
    for path, parts in files:
        (folder / path).write_bytes(b"".join(parts))


def test_a_hostile_manifest_deletes_nothing_else(tmp_path):
    """`force` deletes what a manifest lists only if a packer could have named it so."""
    pack(tmp_path, OLD)
    _rename_shard(tmp_path, "shard-000001.tar", "thesis.tar")
    (tmp_path / "thesis.tar").write_bytes(b"years of work")
    (tmp_path / "shard-000001.tar").unlink()
    (tmp_path / ".shardpack/index/shard-000001.index").unlink()
    pack(tmp_path, NEW, force=True)
    assert (tmp_path / "thesis.tar").read_bytes() == b"years of work"


def test_a_refusal_can_be_had_early_and_writes_nothing(tmp_path):
    check_writable(FolderTarget(str(tmp_path / "nowhere")), "pack", force=False)
    assert not (tmp_path / "nowhere").exists()
    pack(tmp_path / "out", OLD)
    with pytest.raises(OutputExistsError):
        check_writable(FolderTarget(str(tmp_path / "out")), "pack", force=False)
    check_writable(FolderTarget(str(tmp_path / "out")), "pack", force=True)


@packers
def test_a_refusal_needs_no_write_permission(tmp_path, packer, monkeypatch):
    pack(tmp_path, OLD)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for call in ("mkdir", "unlink", "rmdir"):
        monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OutputExistsError):
        packer(tmp_path, NEW)
    with pytest.raises(StorageError, match="Read-only file system; choose another folder"):
        packer(tmp_path, NEW, force=True)
    monkeypatch.undo()
    assert list(shardpack.open(tmp_path).keys()) == list(OLD)


# Datasets that were edited


def edit(out):
    """Delete two samples in two generations, and leave an unfinished edit and what only edits make."""
    shardpack.delete(out, ["old-1"])
    shardpack.delete(out, ["old-2"])
    made = [
        ".shardpack/tmp/append-0123abcd/edit.json", "shard-g000004-0123abcd-000000.tar",
        ".shardpack/index/shard-g000004-0123abcd-000000.index", "val-g000004-0123abcd-000000.tar",
        ".shardpack/layers/g000003-0123abcd/shard-000000.tar", ".shardpack/table/000003-0123abcd.parquet",
        ".shardpack/layer-000003-0123abcd.index",
    ]  # fmt: skip
    for name in made:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(b"1")


@packers
def test_an_edited_dataset_is_kept_without_force(tmp_path, packer):
    pack(tmp_path, OLD)
    edit(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(
        OutputExistsError,
        match=r'add to it with "shardpack append", .*, which deletes its 4 samples, and all earlier generations',
    ):
        packer(tmp_path, NEW)
    assert contents(tmp_path) == before


@packers
def test_force_replaces_all_generations(tmp_path, packer):
    pack(tmp_path / "out", OLD)
    edit(tmp_path / "out")
    (tmp_path / "out" / "notes.txt").write_bytes(b"1")
    packer(tmp_path / "out", NEW, force=True)
    packer(tmp_path / "new", NEW)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "new"), "notes.txt": b"1"}


@packers
def test_force_that_was_interrupted_replaces_all_generations_too(tmp_path, packer):
    pack(tmp_path / "out", OLD)
    edit(tmp_path / "out")
    (tmp_path / "out" / ".shardpack" / "tmp" / "lease.json").write_text('{"command": "pack", "owner": "1"}')
    (tmp_path / "out" / MANIFEST_PATH).unlink()
    packer(tmp_path / "out", NEW, force=True)
    packer(tmp_path / "new", NEW)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_tars_in_other_places_are_not_those_beside_the_manifest(tmp_path):
    """A manifest says that a shard is elsewhere; one of the same name beside it is somebody's."""
    pack(tmp_path, OLD)
    whole = parse_manifest((tmp_path / MANIFEST_PATH).read_bytes())
    (tmp_path / MANIFEST_PATH).write_bytes(encode_manifest(replace(whole, locations=("elsewhere",))))
    with pytest.raises(OutputExistsError, match=r"not in its manifest: 'shard-000000\.tar'"):
        pack(tmp_path, NEW, force=True)


def test_copies_do_not_speak_of_appending(tmp_path):
    pack(tmp_path / "old", OLD)
    pack(tmp_path / "new", NEW)
    with pytest.raises(OutputExistsError, match="already holds a dataset; choose another folder"):
        shardpack.copy(tmp_path / "new", tmp_path / "old")


def test_a_later_generation_whose_copy_was_missed_outlives_a_repairing_copy(tmp_path):
    """The manifest is still that of the source; the edit has happened all the same."""
    pack(tmp_path / "old", OLD)
    shardpack.copy(tmp_path / "old", tmp_path / "copy")
    shardpack.delete(tmp_path / "copy", ["old-1"])
    edited = contents(tmp_path / "copy")
    shutil.copy(tmp_path / "old" / MANIFEST_PATH, tmp_path / "copy" / MANIFEST_PATH)
    (tmp_path / "copy" / "shard-000001.tar").unlink()
    shardpack.copy(tmp_path / "old", tmp_path / "copy")
    assert contents(tmp_path / "copy") == {**edited, MANIFEST_PATH: (tmp_path / "old" / MANIFEST_PATH).read_bytes()}
    assert shardpack.delete(tmp_path / "copy", ["old-2"]).generation == 3


# Unfinished work


def unfinished(out, samples):
    """Leave what a packer leaves that fails after its second shard."""
    calls = []

    def stop(*_):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(out, samples, progress=stop)
    kept = len(list(out.glob("*.tar")))
    assert kept >= 2
    return kept


@packers
@pytest.mark.parametrize("force", [False, True])
def test_unfinished_work_needs_no_force(tmp_path, packer, force):
    unfinished(tmp_path / "out", OLD)
    packer(tmp_path / "out", NEW, force=force)
    packer(tmp_path / "new", NEW)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_the_same_run_continues_also_with_force(tmp_path):
    kept = unfinished(tmp_path, OLD)
    assert pack(tmp_path, OLD, force=True) == kept
    assert pack(tmp_path, OLD, force=True) == 0  # it is complete now, and replaced


@pytest.mark.parametrize("digest", [b"", b"{", b"[]", b'{"run": "other"}'])
def test_a_work_folder_beside_a_dataset_is_removed(tmp_path, digest):
    pack(tmp_path, OLD)
    before = contents(tmp_path)
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True)
    (tmp_path / ".shardpack" / "run.json").write_bytes(digest)
    (tmp_path / ".shardpack" / "tmp" / "shard-000000.tar.done.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        pack(tmp_path, OLD)
    assert contents(tmp_path) == before
