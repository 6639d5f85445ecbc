"""The planned run: equal bytes for any jobs, order of listing and folder; clear errors; correct progress."""

from __future__ import annotations

import json
import os
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.errors import SourceError, StorageError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import start_workers
from shardpack.sources.splits import only_split, with_splits
from shardpack.write.pack_listed import in_packing_order
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.request import PackRequest
from shardpack.write.sharding import ShardLimits
from tests.fakes import contents, file_listing, inline_listing, write_files
from tests.sidecars import plain
from tests.strategies import examples, payloads, safe_fields

SMALL = 20_000
rng = random.Random(0)
SAMPLES = {
    f"{'abc'[i % 3]}/{i:04d}": {
        "jpg": rng.randbytes(rng.choice([0, 1, 511, 512, 513, rng.randrange(4000)])),
        "json": b'{"label": %d}' % (i % 3),
        **({"seg.png": rng.randbytes(100)} if i % 5 == 0 else {}),
    }
    for i in range(60)
}


def pack(listing, out, *, limits=None, engine=IN_PROCESS, progress=lambda *_: None, **options):
    """Pack a listing; return the folder's content and how many shards were there already."""
    plan = plan_shards(listing, limits or ShardLimits(SMALL))
    resumed = pack_plan(
        plan, FolderTarget(str(out)), PackRequest(progress=progress), recorded={}, engine=engine, **options
    )
    return contents(out), resumed.resumed_shards


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("source"), SAMPLES)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    found, _ = pack(file_listing(source), tmp_path_factory.mktemp("whole") / "out")
    return found


def test_what_is_packed_comes_back(source, tmp_path):
    pack(file_listing(source), tmp_path)
    ds = shardpack.open(tmp_path)
    assert {sample.key: dict(sample) for sample in ds} == SAMPLES
    assert [sample.key for sample in ds] == sorted(SAMPLES)
    assert all(dict(ds[key]) == fields for key, fields in SAMPLES.items())
    assert shardpack.verify(tmp_path, full=True).ok


def test_the_folder_holds_a_dataset_and_nothing_else(whole):
    shards = sum(name.endswith(".tar") for name in whole)
    assert shards > 5
    assert sorted(plain(name) for name, data in whole.items() if data is not None) == sorted(
        [
            "keys.index",
            "shards.index",
            ".shardpack/manifest.json",
            ".shardpack/manifests/000001.json",
            *(f"shard-{n:06d}.tar" for n in range(shards)),
            *(f".shardpack/index/shard-{n:06d}.index" for n in range(shards)),
        ]
    )


def test_the_cap_holds_and_the_plan_is_kept(source, tmp_path):
    plan = plan_shards(file_listing(source), ShardLimits(SMALL))
    pack_plan(plan, FolderTarget(str(tmp_path)), PackRequest(), recorded={})
    lengths = [os.path.getsize(path) for path in sorted(tmp_path.glob("*.tar"))]
    assert lengths == plan.shard_bytes.tolist()
    assert max(lengths) <= SMALL


@pytest.mark.parametrize("jobs", [2, 3])
def test_the_number_of_jobs_changes_no_byte(source, whole, tmp_path, jobs):
    with start_workers(jobs) as engine:
        assert pack(file_listing(source), tmp_path / "out", engine=engine) == (whole, 0)


def test_the_place_changes_no_byte(source, whole, tmp_path):
    other = write_files(tmp_path / "else where", dict(reversed(SAMPLES.items())))
    assert pack(file_listing(other), tmp_path / "out") == (whole, 0)
    assert pack(file_listing(source), tmp_path / "again") == (whole, 0)


def test_where_payloads_come_from_changes_no_byte(whole, tmp_path):
    assert pack(inline_listing(SAMPLES), tmp_path) == (whole, 0)


def test_the_shards_of_splits_are_the_same_packed_together_and_alone(tmp_path):
    found = with_splits(inline_listing(SAMPLES), ["val" if i % 3 == 0 else "train" for i in range(60)])
    together, _ = pack(in_packing_order(found, 7), tmp_path / "both")
    names = sorted(name for name in together if name.endswith(".tar"))
    assert names[0] == "train-000000.tar"
    assert names[-1].startswith("val-00000")
    for split in ("train", "val"):
        alone, _ = pack(in_packing_order(only_split(found, split), 7), tmp_path / split)
        of_split = [name for name in names if name.startswith(split)]
        assert [together[name] for name in of_split] == [
            alone[f"shard-{number:06d}.tar"] for number in range(len(of_split))
        ]


@examples(20)
@given(
    samples=st.dictionaries(
        st.text("abc/", min_size=1, max_size=130).filter(lambda key: "//" not in key and key[0] != "/" != key[-1]),
        st.dictionaries(safe_fields(), payloads(), min_size=1, max_size=3),
        max_size=8,
    ),
    most=st.integers(1, 5),
)
def test_any_samples_come_back(new_folder, samples, most):
    out = new_folder()
    pack(inline_listing(samples), out, limits=ShardLimits(1 << 20, most))
    ds = shardpack.open(out)
    assert {sample.key: dict(sample) for sample in ds} == samples
    assert len(ds.shards) == -(-len(samples) // most)


def test_a_seeded_order_is_that_of_the_specification(source, tmp_path):
    listing = file_listing(source)
    order = permutation(listing.num_samples, derive_key(PACK_ORDER, 7))
    pack(listing.take(order), tmp_path)
    assert list(shardpack.open(tmp_path).keys()) == [listing.keys[i] for i in order.tolist()]


def test_max_shard_samples(source, tmp_path):
    pack(file_listing(source), tmp_path, limits=ShardLimits(1 << 30, 7))
    assert [info.num_samples for info in shardpack.open(tmp_path).shards] == [7] * 8 + [4]


def test_oversized_samples_get_a_shard_of_their_own(tmp_path):
    samples = {f"{i}": {"bin": bytes(9000 if i == 3 else 100)} for i in range(6)}
    limits = ShardLimits(6000)
    with pytest.raises(SourceError, match=r"1 sample.* do not fit .*takes 9728; raise max_shard_bytes .*\(key='3'\)"):
        plan_shards(inline_listing(samples), limits)
    pack(inline_listing(samples), tmp_path, limits=ShardLimits(6000, allow_oversized=True))
    assert [info.num_samples for info in shardpack.open(tmp_path).shards] == [3, 1, 2]


def test_no_samples_make_an_empty_dataset(tmp_path):
    found, _ = pack(inline_listing({}), tmp_path)
    assert {name for name, data in found.items() if data} == {
        ".shardpack/manifest.json",
        ".shardpack/manifests/000001.json",
    }
    ds = shardpack.open(tmp_path)
    assert (len(ds), ds.shards, ds.fields, list(ds), "a" in ds) == (0, (), (), [], False)
    assert shardpack.verify(tmp_path, full=True).ok


# Progress, resuming, reject lists


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_adds_up(source, tmp_path, jobs):
    calls = []
    with start_workers(jobs) as engine:
        pack(file_listing(source), tmp_path, engine=engine, progress=lambda *call: calls.append(call))
    lengths = [path.stat().st_size for path in tmp_path.glob("*.tar")]
    done = [done for _, done, _ in calls]
    assert {(phase, total) for phase, _, total in calls} == {("pack", sum(lengths))}
    assert done == sorted(done)
    assert done[-1] == sum(lengths)
    assert len(done) == len(lengths)


@pytest.mark.parametrize("jobs", [1, 2])
def test_progress_within_a_shard(tmp_path, jobs):
    """Progress is also reported while one shard of many buffers is written."""
    calls = []
    samples = {f"{i:02d}": {"bin": bytes(3 << 20)} for i in range(8)}
    with start_workers(jobs) as engine:
        limits = ShardLimits(64 << 20)
        pack(inline_listing(samples), tmp_path, limits=limits, engine=engine, progress=lambda *c: calls.append(c))
    done = [done for _, done, _ in calls]
    assert len(done) == 8
    assert done == sorted(done)
    assert done[-1] == calls[-1][2] == (tmp_path / "shard-000000.tar").stat().st_size


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_in_the_progress_callback_is_the_callers(source, tmp_path, jobs):
    """An OSError of the caller was once reported as a full disk."""

    def broken(*_):
        raise BrokenPipeError(32, "Broken pipe")

    with start_workers(jobs) as engine, pytest.raises(BrokenPipeError):
        pack(file_listing(source), tmp_path, engine=engine, progress=broken)
    assert not (tmp_path / MANIFEST_PATH).exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_run_that_failed_is_continued(source, whole, tmp_path):
    calls = []

    def stop_after_three(*_):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(file_listing(source), tmp_path, progress=stop_after_three)
    left = contents(tmp_path)
    assert MANIFEST_PATH not in left
    finished = sum(name.endswith(".tar") for name in left)
    assert 3 <= finished < len([name for name in whole if name.endswith(".tar")])  # one more may have been on its way
    assert not any(name.endswith(".tmp") for name in left)
    assert pack(file_listing(source), tmp_path) == (whole, finished)


def test_a_run_with_splits_is_continued_and_one_with_others_is_not(source, tmp_path):
    listing = file_listing(source)
    split = in_packing_order(with_splits(listing, ["val" if i % 3 else "train" for i in range(60)]), None)
    whole, _ = pack(split, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        pack(split, tmp_path / "out", progress=interrupt)
    finished = len(list((tmp_path / "out").glob("*.tar")))
    assert finished
    assert pack(split, tmp_path / "out") == (whole, finished)
    with pytest.raises(KeyboardInterrupt):
        pack(split, tmp_path / "none", progress=interrupt)
    found, resumed = pack(listing, tmp_path / "none")
    assert resumed == 0
    assert not [name for name in found if name.startswith(("train", "val"))]


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"input": 5, "shard": {}}', '{"shard": {"name": 7}}', "\xff"])
def test_a_damaged_journal_is_ignored(source, whole, tmp_path, damage):
    with pytest.raises(KeyboardInterrupt):
        pack(file_listing(source), tmp_path, progress=interrupt)
    finished = len(list(tmp_path.glob("*.tar")))
    (tmp_path / ".shardpack" / "tmp" / "shard-000000.tar.done.json").write_text(damage, encoding="latin-1")
    assert pack(file_listing(source), tmp_path) == (whole, finished - 1)


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", ["shard-000000.tar", ".shardpack/index/shard-000000.index"])
def test_a_damaged_shard_is_packed_again(source, whole, tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        pack(file_listing(source), tmp_path, progress=interrupt)
    finished = len(list(tmp_path.glob("*.tar")))
    (tmp_path / name).write_bytes(b"cut")
    assert pack(file_listing(source), tmp_path) == (whole, finished - 1)


def test_rejects_are_listed(tmp_path):
    rejected = [("a/b.jpg", "does not decode"), ("caf\udce9", "no UTF-8")]
    found, _ = pack(inline_listing(SAMPLES), tmp_path, rejected=rejected)
    lines = [json.loads(line) for line in found[".shardpack/rejected.jsonl"].splitlines()]
    assert [(line["name"], line["reason"]) for line in lines] == rejected


def test_the_reject_list_of_an_unfinished_run_goes(whole, tmp_path):
    class Stopped(FolderTarget):
        def put(self, name, parts):
            if name == MANIFEST_PATH:
                raise KeyboardInterrupt
            super().put(name, parts)

    plan = plan_shards(inline_listing(SAMPLES), ShardLimits(SMALL))
    with pytest.raises(KeyboardInterrupt):
        pack_plan(plan, Stopped(str(tmp_path)), PackRequest(), recorded={}, rejected=[("a", "b")])
    assert (tmp_path / ".shardpack/rejected.jsonl").exists()
    assert pack(inline_listing(SAMPLES), tmp_path)[0] == whole


# A source that changes while it is packed


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda path: path.unlink(),
            r"cannot read '.*b/0004\.json': No such file or directory; make it readable, then run",
        ),
        (lambda path: path.write_bytes(b"{}"), r"expected 12 bytes in '.*b/0004\.json', got 2; run the same command"),
        (lambda path: path.write_bytes(bytes(50)), r"expected 12 bytes in '.*b/0004\.json', got more; run"),
        (lambda path: (path.unlink(), path.mkdir()), r"cannot read '.*b/0004\.json': Is a directory"),
    ],
    ids=["vanishes", "shrinks", "grows", "becomes a folder"],
)
def test_a_file_that_changes_is_named(tmp_path, jobs, change, says):
    listing = file_listing(tmp_path / "source", {"a/0001": {"json": b"[1]"}, "b/0004": {"json": b'{"label": 1}'}})
    change(tmp_path / "source" / "b/0004.json")
    plan = plan_shards(listing, ShardLimits(1 << 20, 1))
    out = tmp_path / "out"
    with start_workers(jobs) as engine, pytest.raises(SourceError, match=says) as caught:
        pack_plan(plan, FolderTarget(str(out)), PackRequest(), recorded={}, engine=engine)
    assert "\n" not in str(caught.value)
    assert not (out / MANIFEST_PATH).exists()
    assert not list(out.rglob("*.tmp"))


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StorageError, match=r"cannot write to '.*': (File exists|Not a directory); choose another"):
            pack(inline_listing(SAMPLES), out)
