"""Tars and layers in other places that are gone or break off: each is told, with the place and what to do."""

from __future__ import annotations

import pytest

import shardpack
from tests.edit.lost_files import contents, cut, make


@pytest.fixture
def merged(tmp_path):
    """A dataset whose tars are in two other folders."""
    for folder in ("a", "b"):
        shardpack.pack([(f"{folder}/{n}", {"txt": "text"}) for n in range(4)], tmp_path / folder, max_shard_samples=2)
    shardpack.merge([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    return tmp_path / "out"


def test_a_folder_that_is_gone(merged, tmp_path):
    assert shardpack.repair(merged).lost == ()
    (tmp_path / "b").rename(tmp_path / "elsewhere")
    before = contents(merged)
    report = shardpack.repair(merged)
    (what,) = report.lost
    assert what.startswith(
        "../b: all 2 tar(s) with 4 samples that the dataset has there are missing; bring this folder"
    )
    assert report.written == ()
    assert contents(merged) == before
    shardpack.delete(merged, [f"b/{n}" for n in range(4)])
    assert shardpack.repair(merged).lost == (), "nothing of it is visible"


def test_a_tar_elsewhere_that_is_missing_or_breaks_off(merged, tmp_path):
    (tmp_path / "a" / "shard-000001.tar").unlink()
    cut(tmp_path / "b" / "shard-000000.tar", 700)
    missing, broken = shardpack.repair(merged).lost
    assert missing.startswith("../a/shard-000001.tar: the tar is missing; restore it from a backup, or repair the")
    assert broken.startswith("../b/shard-000000.tar: the tar has 700 bytes, expected ")
    assert shardpack.open(merged).manifest.generation == 1


def test_a_tar_that_is_too_long_is_another_one(tmp_path):
    out = make(tmp_path / "out", 4)
    with open(out / "shard-000001.tar", "ab") as file:
        file.write(b"more")
    (what,) = shardpack.repair(out).lost
    assert what.startswith("shard-000001.tar: the tar has ")


def test_layers(tmp_path):
    out = make(tmp_path / "out", 4)
    shardpack.pack([("k/001", {"txt": "a"}), ("k/002", {"txt": "b"})], tmp_path / "texts", max_shard_samples=1)
    shardpack.attach(out, tmp_path / "texts")
    assert shardpack.repair(out).lost == ()
    tar = tmp_path / "texts" / "shard-000000.tar"
    whole = tar.read_bytes()
    cut(tar, 600)
    (what,) = shardpack.repair(out).lost
    assert what.startswith("layer '../texts': the tar shard-000000.tar breaks off; restore it from a backup, or do")
    tar.write_bytes(whole)
    (table,) = (tmp_path / "texts" / ".shardpack").glob("shards-*")
    table.unlink()
    (what,) = shardpack.repair(out).lost
    assert what == (
        f"layer '../texts': 1 of its sidecars are missing or damaged, first .shardpack/{table.name}; it is a dataset "
        f'of its own: repair it with "shardpack repair {tmp_path / "texts"}"'
    )
    shardpack.repair(tmp_path / "texts")
    assert shardpack.repair(out).lost == ()
    (tmp_path / "texts").rename(tmp_path / "gone")
    (what,) = shardpack.repair(out).lost
    assert what.startswith("layer '../texts' is missing: ")


@pytest.mark.parametrize("pattern", ["shards-*", "keys-*", "index/shard-000000*"])
@pytest.mark.parametrize("harm", ["missing", "cut", "flipped"])
def test_sidecars_of_a_layer_that_an_edit_made(tmp_path, pattern, harm):
    out = make(tmp_path / "out", 4)
    shardpack.relabel(out, {f"k/{n:03d}": {"label": n} for n in range(4)})
    (folder,) = (out / ".shardpack" / "layers").iterdir()
    (path,) = (folder / ".shardpack").glob(pattern)
    whole = path.read_bytes()
    path.unlink()
    if harm != "missing":
        path.write_bytes(whole[:-5] if harm == "cut" else bytes([whole[0] ^ 1]) + whole[1:])
    (what,) = shardpack.repair(out).lost
    force = harm != "missing"
    assert what.endswith(f'repair it with "shardpack repair {folder}{" --force" if force else ""}"')
    (first, *_) = shardpack.verify(out).problems
    assert f'"shardpack repair {folder}{" --force" if force else ""}"' in first.message
    assert shardpack.repair(folder, force=force).lost == ()
    assert path.read_bytes() == whole
    assert shardpack.repair(out).lost == ()
    assert shardpack.verify(out).problems == ()


def test_an_empty_tar_is_restored_as_one_that_is_missing(tmp_path):
    out = make(tmp_path / "out", 4)
    cut(out / "shard-000001.tar", 0)
    before = contents(out)
    report = shardpack.repair(out)
    assert [what.partition(" bytes, ")[0] for what in report.lost] == ["shard-000001.tar: the tar has 0"]
    assert report.lost[0].endswith("; restore it from a backup")
    assert (report.generation, report.salvaged) == (1, ())
    assert contents(out) == before
