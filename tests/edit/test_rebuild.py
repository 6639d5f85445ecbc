"""Sidecars made of tars alone: those of packing, byte for byte; other tars only when named; broken ones salvaged."""

from __future__ import annotations

import shutil

import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.edit.rebuild import choose_tars
from shardpack.errors import CorruptShardError, DatasetNotFoundError, DuplicateKeyError, OutputExistsError
from shardpack.storage.memory import MemoryStore
from tests.conftest import image_folder
from tests.edit.lost_files import contents, cut, make, restored, samples, without_sidecars

MANIFESTS = {".shardpack/manifest.json", ".shardpack/manifests/000001.json"}


def chunked(folder, source):
    shardpack.pack(image_folder(source), folder, resize="short=8", max_shard_samples=2, jobs=1)
    return folder


def compressed(folder, _):
    pytest.importorskip("zstandard")
    return make(folder, compress={"shards": "zstd:3"})


KINDS = {
    "plain": lambda folder, _: make(folder),
    "splits": lambda folder, _: make(folder, 12, splits=("train", "val", None)),
    "chunked": chunked,
    "compressed": compressed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_sidecars_are_those_of_packing(tmp_path, kind):
    out = KINDS[kind](tmp_path / "out", tmp_path / "source")
    before, expected = contents(out), samples(out)
    report = shardpack.repair(without_sidecars(out), jobs=1)
    after = contents(out)
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == MANIFESTS, "which hold options and classes"
    assert samples(out) == expected
    assert shardpack.verify(out, full=True).problems == ()
    assert report.num_samples == len(expected)
    assert set(report.written) == {name for name in after if name.startswith(".shardpack/")}
    assert any(what.startswith("classes") for what in report.lost)


def test_which_tars_are_taken_and_in_which_order():
    names = [
        "shard-000001.tar", "shard-000000.tar", "val-000000.tar", "train-000002.tar", "train-000001.tar", "mine.tar",
        "shard-g000002-5f3a9c01-000000.tar", "zoo-1000000.tar", "zoo-999999.tar", "more/shard-000000.tar", "x.txt",
    ]  # fmt: skip
    target = target_of(MemoryStore(dict.fromkeys(names, b"")))
    tars, left_out = choose_tars(target, [])
    assert tars == [
        "train-000001.tar", "train-000002.tar", "val-000000.tar", "zoo-999999.tar", "zoo-1000000.tar",
        "shard-000000.tar", "shard-000001.tar",
    ]  # fmt: skip
    assert left_out == ["mine.tar", "more/shard-000000.tar", "shard-g000002-5f3a9c01-000000.tar"]
    tars, left_out = choose_tars(target, ["shard-g*", "mi?e.tar"])
    assert tars[-2:] == ["shard-g000002-5f3a9c01-000000.tar", "mine.tar"]
    assert left_out == ["more/shard-000000.tar"]


def test_tars_of_others_alone_are_no_dataset(tmp_path):
    out = without_sidecars(make(tmp_path / "out", 3))
    (out / "shard-000000.tar").rename(out / "mine.tar")
    with pytest.raises(DatasetNotFoundError, match=r"1 other tar.*name them with include"):
        shardpack.repair(out)
    assert shardpack.repair(out, include=["mine.tar"]).num_samples == 3
    with pytest.raises(DatasetNotFoundError, match=r"has no \.shardpack/manifest\.json; make one"):
        shardpack.repair(tmp_path)


@pytest.mark.parametrize("name", ["shard-000001.tar", "train-000001.tar"])
def test_a_tar_that_breaks_off_is_salvaged_in_its_place(tmp_path, name):
    split = name.partition("-")[0] if name.startswith("train") else None
    out = make(tmp_path / "out", 10, splits=(split,))
    expected = samples(out)
    cut(without_sidecars(out) / name, (out / name).stat().st_size - 1500)
    broken = (out / name).read_bytes()
    report = shardpack.repair(out, jobs=1)
    (found,) = report.salvaged
    assert (found.shard, found.num_samples) == (name, 2)
    assert report.tars[1].startswith(f"{split or 'shard'}-g000001-")
    assert samples(out) == [one for number, one in enumerate(expected) if number != 5]
    assert (out / name).read_bytes() == broken, "the broken tar stays"
    assert shardpack.verify(out, full=True).num_samples == 9
    again = contents(out)
    report = shardpack.repair(without_sidecars(out), jobs=1)
    assert contents(out) == again, "the same again, with the new shard that is there"


def test_a_compressed_tar_that_breaks_off_is_salvaged_in_its_place(tmp_path):
    pytest.importorskip("zstandard")
    out = make(tmp_path / "out", compress={"shards": "zstd:3"}, frame_bytes=512)
    expected = samples(out)
    tar = without_sidecars(out) / "shard-000001.tar.zst"
    cut(tar, tar.stat().st_size - 80)
    report = shardpack.repair(out, jobs=1)
    assert [(found.shard, found.num_samples) for found in report.salvaged] == [(tar.name, 2)]
    assert report.tars[1].startswith("shard-g000001-")
    assert report.tars[1].endswith(".tar.zst")
    assert samples(out) == [one for number, one in enumerate(expected) if number != 5]


def test_a_tar_without_a_whole_sample_is_lost(tmp_path):
    out = make(tmp_path / "out", 6)
    cut(without_sidecars(out) / "shard-000000.tar", 700)
    report = shardpack.repair(out, jobs=1)
    assert report.tars == ("shard-000001.tar",)
    assert any("all samples of 'shard-000000.tar'" in what for what in report.lost)
    only = without_sidecars(make(tmp_path / "only", 2))
    cut(only / "shard-000000.tar", 700)
    with pytest.raises(CorruptShardError):
        shardpack.repair(only, jobs=1)


def test_sidecars_without_a_manifest_are_replaced_with_force_only(tmp_path):
    out = make(tmp_path / "out")
    for name in MANIFESTS:
        (out / name).unlink()
    before = contents(out)
    with pytest.raises(OutputExistsError, match=r"has sidecars, but no manifest: .*--force"):
        shardpack.repair(out)
    assert contents(out) == before
    shardpack.repair(out, force=True)
    assert {name: data for name, data in contents(out).items() if name not in MANIFESTS} == before


def test_tars_that_are_left_out_are_not_waste(tmp_path):
    """Their samples may have been committed, so `gc` leaves them to a repair that includes them."""
    out = make(tmp_path / "out")
    shardpack.append([("added", {"txt": "x"})], out)
    expected = samples(out)
    shutil.rmtree(out / ".shardpack" / "manifests")
    (out / ".shardpack" / "manifest.json").unlink()
    (added,) = shardpack.repair(out, force=True, jobs=1).left_out
    shardpack.gc(out, older_than=0)
    assert (out / added).exists()
    shutil.rmtree(out / ".shardpack")
    shardpack.repair(out, include=[added], jobs=1)
    assert samples(out) == expected


def test_repeated_keys_leave_nothing(tmp_path):
    out = without_sidecars(make(tmp_path / "out", 3))
    shutil.copy(out / "shard-000000.tar", out / "shard-000001.tar")
    before = contents(out)
    with pytest.raises(DuplicateKeyError):
        shardpack.repair(out)
    assert contents(out) == before


def test_a_dry_run_writes_nothing(tmp_path):
    out = without_sidecars(make(tmp_path / "out"))
    before = contents(out)
    report = shardpack.repair(out, dry_run=True)
    assert (report.dry_run, report.tars) == (True, tuple(f"shard-{n:06d}.tar" for n in range(4)))
    assert contents(out) == before
    assert restored(before, out)
