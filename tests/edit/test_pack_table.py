"""`pack --table`: the table of a bucket is made of the local shards, and is that of a folder."""

from __future__ import annotations

from contextlib import suppress

import pytest

import shardpack
from shardpack.errors import DecodeError, OutputExistsError
from shardpack.format.layout import RUN_PATH
from tests.commit.stores import KilledError, ReadStore, WatchedStore, heal, kill_at
from tests.conftest import image_folder
from tests.fakes import file_contents


@pytest.fixture
def photos(tmp_path):
    return image_folder(tmp_path / "photos", per_class=6)


def tables(files):
    return {name: bytes(data) for name, data in files.items() if name.endswith((".parquet", "manifest.json"))}


@pytest.mark.parametrize(
    "options", [{}, {"compress": {"shards": "zstd:1"}}, {"resize": "short=16", "encode": "png"}], ids=str
)
def test_nothing_is_read_back(photos, tmp_path, options):
    shardpack.pack(photos, tmp_path / "out", max_shard_samples=4, with_table=True, **options)
    store = ReadStore()
    shardpack.pack(photos, store.url, max_shard_samples=4, with_table=True, **options)
    assert store.payload_reads() == []
    expected = tables(file_contents(tmp_path / "out"))
    assert tables(store.contents()) == expected
    assert len(expected) == 2


def test_samples_of_an_iterable(tmp_path):
    samples = [(f"{n}", {"json": {"label": n % 2, "n": n, "boxes": [[n, 1]]}}) for n in range(9)]
    shardpack.pack(samples, tmp_path / "out", max_shard_samples=4, classes=["a", "b"], with_table=True)
    store = ReadStore()
    shardpack.pack(samples, store.url, max_shard_samples=4, classes=["a", "b"], with_table=True)
    assert store.payload_reads() == []
    assert tables(store.contents()) == tables(file_contents(tmp_path / "out"))
    assert shardpack.open(store.url).table(["class"])["class"].to_pylist() == list("ababababa")


def test_after_a_kill_only_what_was_finished_before_is_read(photos, tmp_path):
    shardpack.pack(photos, tmp_path / "out", max_shard_samples=4, with_table=True, jobs=1)
    store = ReadStore()
    kill_at(store, 12)
    with pytest.raises(KilledError):
        shardpack.pack(photos, store.url, max_shard_samples=4, with_table=True, jobs=1)
    finished = {name for name in store.contents() if name.endswith(".tar")}
    heal(store)
    store.read.clear()
    shardpack.pack(photos, store.url, max_shard_samples=4, with_table=True, jobs=1)
    assert finished
    assert set(store.payload_reads()) <= finished
    assert tables(store.contents()) == tables(file_contents(tmp_path / "out"))


@pytest.mark.parametrize(
    "options", [{}, {"resize": "short=16", "encode": "png"}, {"part": "2/2"}], ids=["planned", "chunked", "part"]
)
def test_killed_anywhere_the_same_call_continues(photos, options):
    def packed(step=None):
        store = WatchedStore()
        given = {"max_shard_samples": 4, "with_table": True, "jobs": 1, **options}
        if "part" in given:
            shardpack.pack(photos, store.url, **given | {"part": "1/2"})
        if step is not None:
            kill_at(store, step)
            with suppress(KilledError):
                shardpack.pack(photos, store.url, **given)
            heal(store)
        before = len(store.log)
        report = shardpack.pack(photos, store.url, **given)
        assert (report.num_samples, report.missing_shards) == (12, 0)
        return store.contents(), len(store.log) - before

    whole, steps = packed()
    for step in range(1, steps):
        assert packed(step)[0] == whole, step


@pytest.mark.parametrize("options", [{}, {"resize": "short=16", "encode": "png"}], ids=["planned", "chunked"])
def test_a_part_that_is_run_again_has_nothing_to_do(photos, tmp_path, options):
    def pack(part, **more):
        given = {"max_shard_samples": 4, "with_table": True, **options, **more}
        return shardpack.pack(photos, tmp_path / "out", part=part, jobs=1, **given)

    pack("1/2")
    pack("2/2")
    before = file_contents(tmp_path / "out")
    for again in (pack("2/2"), pack("1/2"), pack("1/2", with_table=False)):
        assert again.missing_shards == 0
    assert file_contents(tmp_path / "out") == before
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        pack("2/2", max_shard_samples=3)
    shardpack.append([("more", {"jpg": b"x", "cls": 0})], tmp_path / "out")
    with pytest.raises(OutputExistsError, match="already holds a dataset"):
        pack("2/2")


def test_labels_that_do_not_parse_are_told_once_the_dataset_is_there():
    store = WatchedStore()
    with pytest.raises(DecodeError, match=r"field 'json' is not JSON.*key='b'"):
        shardpack.pack([("a", {"json": {}}), ("b", {"json": b"{"})], store.url, with_table=True)
    assert shardpack.open(store.url).manifest.generation == 1
    assert RUN_PATH not in store.contents()


def test_a_dry_run_makes_nothing(photos):
    store = WatchedStore()
    assert shardpack.pack(photos, store.url, dry_run=True, with_table=True).dry_run
    assert store.contents() == {}
