"""Tars that break off in a dataset whose manifest is there: a new generation with what is whole of them."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import CorruptShardError, ShardpackError
from tests.commit.stores import KilledError, WatchedStore, heal, kill_at
from tests.edit.lost_files import contents, cut, make, samples

BROKEN = "val-000000.tar"


@pytest.fixture
def out(tmp_path):
    """A dataset of two splits, one of whose tars is to break off behind two of its three samples."""
    return make(tmp_path / "out", 12, splits=("train", "val"))


def broken(out):
    cut(out / BROKEN, (out / BROKEN).stat().st_size - 1500)
    return (out / BROKEN).read_bytes()


def test_whole_samples_are_in_a_new_shard(out):
    before, files = samples(out), contents(out)
    tar = broken(out)
    report = shardpack.repair(out)
    (found,) = report.salvaged
    assert (found.shard, found.num_samples, report.generation, report.num_samples) == (BROKEN, 2, 2, 11)
    assert report.lost == (f"{BROKEN}: all samples but 2; the tar breaks off",)
    assert (out / BROKEN).read_bytes() == tar, "the broken tar stays"
    assert samples(out) == [*before[:6], *before[9:], *before[6:8]]
    with shardpack.open(out) as ds:
        assert ds.splits == {"train": 6, "val": 5}
        assert ds["k/007"].position == 10
        assert "k/008" not in ds
        (added,) = [info.name for info in ds.shards if info.name.startswith("val-g000002-")]
    now = contents(out)
    assert {name for name in files if now.get(name) != files[name]} == {BROKEN, ".shardpack/manifest.json"}
    assert report.written[0] == added
    assert set(report.written) - now.keys() == set()


@pytest.mark.parametrize("full", [False, True])
def test_verify_is_content_afterwards(out, full):
    broken(out)
    assert [problem.shard for problem in shardpack.verify(out, full=full).problems] == [BROKEN]
    shardpack.repair(out)
    assert shardpack.verify(out, full=full).problems == ()
    assert shardpack.repair(out).written == ()


def test_damaged_payloads_are_left_out_and_named(out):
    before = samples(out)
    tar = broken(out)
    (out / BROKEN).write_bytes(tar.replace(b"006" * 7, b"x" * 21))
    report = shardpack.repair(out)
    (found,) = report.salvaged
    assert (found.num_samples, found.damaged, report.num_samples) == (1, ("k/006",), 10)
    assert report.lost == (
        f"{BROKEN}: all samples but 1; the tar breaks off",
        f"{BROKEN}: samples whose payloads are damaged: 'k/006'",
    )
    assert samples(out) == [*before[:6], *before[9:], before[7]]
    assert shardpack.repair(out).generation == 2


def test_where_the_index_is_lost_too_nothing_is_compared(out):
    tar = broken(out)
    (out / BROKEN).write_bytes(tar.replace(b"006" * 7, b"x" * 21))
    index = next(path for path in out.rglob("*.index") if path.name.startswith("val-000000"))
    index.write_bytes(b"damaged")
    (found,) = shardpack.repair(out, force=True).salvaged
    assert (found.num_samples, found.damaged) == (2, ())


def test_it_is_done_once(out):
    broken(out)
    assert shardpack.repair(out).generation == 2
    report = shardpack.repair(out)
    assert (report.generation, report.written, report.salvaged) == (2, (), ())


def test_a_dry_run_writes_nothing(out):
    broken(out)
    before = contents(out)
    report = shardpack.repair(out, dry_run=True)
    assert report.lost == ("samples at the end of 1 tar(s) that break off; a repair saves the others",)
    assert contents(out) == before


def test_a_tar_that_is_missing_is_lost(out):
    (out / BROKEN).unlink()
    report = shardpack.repair(out)
    assert report.lost == (f"{BROKEN}: the tar is missing; restore it from a backup",)
    assert (report.generation, report.written) == (1, ())


def test_what_was_deleted_or_replaced_stays_so(out):
    shardpack.delete(out, ["k/006"])
    shardpack.append([("k/007", {"bin": b"new", "json": {"number": 70}})], out, on_duplicate="replace", split="val")
    before = samples(out)
    broken(out)
    report = shardpack.repair(out)
    assert report.num_samples == len(before) - 1
    assert samples(out) == [sample for sample in before if sample[0] != "k/008"]
    with shardpack.open(out) as ds:
        assert "k/006" not in ds
        assert ds["k/007"]["bin"] == b"new"
    assert shardpack.repair(out).generation == report.generation


def test_a_shorter_tar_with_other_samples_is_refused(out):
    (out / BROKEN).write_bytes((out / "train-000000.tar").read_bytes()[:-1500])
    before = contents(out)
    with pytest.raises(CorruptShardError, match="do not have the keys of those that were packed; restore it"):
        shardpack.repair(out)
    assert contents(out) == before


def splits_of(out):
    """Return which visible keys are in which split."""
    with shardpack.open(out) as ds:
        return {name: set(ds.split(name).keys()) for name in ds.splits}


@pytest.mark.parametrize("appended", [0, 10])
@pytest.mark.parametrize("how", [{"fraction": {"train": 0.4, "val": 0.3}}, {"lists": {"a": ["k/007"], "b": ["k/000"]}}])
def test_samples_stay_in_their_splits(tmp_path, how, appended):
    out = make(tmp_path / "out", 60)
    shardpack.split(out, **how)
    if appended:
        shardpack.append(
            [(f"more/{n:02d}", {"bin": b"x"}) for n in range(appended)], out, split="b" if "lists" in how else None
        )
    before = splits_of(out)
    for tar in sorted(out.glob("*.tar"))[::2]:
        cut(tar, tar.stat().st_size - 1500)
    shardpack.repair(out)
    with shardpack.open(out) as ds:
        assert len(ds) < 60 + appended
        left = set(ds.keys())
    assert splits_of(out) == {name: keys & left for name, keys in before.items()}
    kinds = [problem for problem in shardpack.verify(out, full=True).problems if ".tar" not in str(problem)]
    assert kinds == []
    if "fraction" in how:
        now = splits_of(out)
        shardpack.append([(f"later/{n:02d}", {"bin": b"x"}) for n in range(20)], out)
        later = splits_of(out)
        assert all(now[name] < later[name] for name in now), "what is appended falls as before"


def test_without_the_file_of_splits_nothing_is_guessed(tmp_path):
    out = make(tmp_path / "out", 12)
    shardpack.split(out, {"train": 0.5, "val": 0.5})
    (splits,) = (out / ".shardpack").glob("splits-*")
    splits.unlink()
    tar = out / "shard-000001.tar"
    cut(tar, tar.stat().st_size - 1500)
    report = shardpack.repair(out)
    assert (report.generation, report.salvaged) == (2, ())
    assert report.lost[-1].startswith(
        "samples of 1 tar(s) that break off: they are saved by another repair, once these"
    )
    assert report.lost[-1].endswith(f"no longer needed: .shardpack/{splits.name}")
    shardpack.split(out, {"train": 0.5, "val": 0.5}, force=True)
    assert shardpack.repair(out).generation == 4
    with shardpack.open(out) as ds:
        assert len(ds) == 11
        assert sum(map(len, splits_of(out).values())) == 11


def test_layers_say_the_same_of_what_is_saved(tmp_path):
    out = make(tmp_path / "out", 9)
    with shardpack.ShardWriter(tmp_path / "captions") as writer:
        for number in range(1, 9):
            writer.write(f"k/{number:03d}", {"txt": f"caption {number}"})
    shardpack.attach(out, tmp_path / "captions")
    shardpack.append([("more", {"bin": b"x"})], out)
    shardpack.relabel(out, {"k/003": {"number": 30}, "k/005": {"number": 50}, "more": {"number": 60}})
    expected = dict(samples(out))
    cut(out / "shard-000001.tar", (out / "shard-000001.tar").stat().st_size - 1500)
    report = shardpack.repair(out)
    assert [found.num_samples for found in report.salvaged] == [2]
    assert dict(samples(out)) == {key: fields for key, fields in expected.items() if key != "k/005"}
    with shardpack.open(out) as ds:
        assert {sample.key: dict(sample) for sample in ds.stream(shuffle="blocks", seed=1)} == dict(samples(out))
    assert shardpack.verify(out, full=True).ok
    assert shardpack.repair(out).written == ()


def test_without_the_positions_of_a_layer_nothing_is_guessed(tmp_path):
    out = make(tmp_path / "out", 6)
    shardpack.relabel(out, {"k/004": {"number": 40}})
    (positions,) = (out / ".shardpack").glob("layer-*")
    positions.unlink()
    cut(out / "shard-000001.tar", (out / "shard-000001.tar").stat().st_size - 1500)
    report = shardpack.repair(out)
    assert (report.generation, report.salvaged) == (2, ())
    assert report.lost[0].startswith(
        f".shardpack/{positions.name}: which samples a layer changes; restore it, or detach"
    )
    assert report.lost[-1].endswith(f"no longer needed: .shardpack/{positions.name}")


def test_samples_of_a_compressed_shard_are_saved(tmp_path):
    pytest.importorskip("zstandard")
    out = make(tmp_path / "out", 9, compress={"shards": "zstd:3"}, frame_bytes=512)
    expected = dict(samples(out))
    tar = out / "shard-000001.tar.zst"
    cut(tar, tar.stat().st_size - 80)  # the seek table, the end of the archive, and a part of the last sample
    report = shardpack.repair(out)
    (found,) = report.salvaged
    assert found.num_samples == 2
    kept = [*(key for key in expected if not "k/003" <= key < "k/006"), "k/003", "k/004"]
    assert samples(out) == [(key, expected[key]) for key in kept]
    assert report.written[0].endswith("-000000.tar.zst")
    assert shardpack.verify(out, full=True).ok


def test_a_repair_that_is_killed_is_finished_by_the_next(out):
    broken(out)
    steps = 0
    while True:
        store, steps = WatchedStore(), steps + 1
        for name, data in contents(out).items():
            store.put(name, data)
        kill_at(store, steps)
        try:
            shardpack.repair(store.url)
        except (KilledError, ShardpackError):
            heal(store)
        else:
            break
        assert shardpack.repair(store.url).generation == 2
        assert shardpack.verify(store.url).problems == ()
        assert not [name for name in store.names() if "/tmp/" in name]
    assert steps > 10
