"""Datasets and views as sources keep bytes, keys, order and classes, and damage is not copied."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

import pytest

import shardpack
from shardpack.errors import CorruptShardError, OptionError, SourceError
from shardpack.sources.dataset import DatasetSource, list_samples
from shardpack.sources.payloads import check_payloads
from shardpack.sources.source import ListOptions
from shardpack.storage.adapter import adapt
from shardpack.storage.local import LocalStore
from tests.conftest import image_folder
from tests.fakes import contents, file_contents
from tests.read.datasets import CountingStore

SAMPLES = {f"{i:03d}": {"jpg": bytes([i]) * (100 + i), **({"json": b"{}"} if i % 3 else {})} for i in range(20)}


@pytest.fixture
def dataset(tmp_path):
    with shardpack.ShardWriter(tmp_path / "source", max_shard_samples=6, classes=["cat", "dog"]) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)
    return shardpack.open(tmp_path / "source")


def read(path):
    return [(sample.key, dict(sample)) for sample in shardpack.open(path)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_view_is_packed_in_its_order(dataset, tmp_path, jobs):
    order = [19, 3, 4, 0, 11, 12, 13]
    report = shardpack.pack(dataset.select(order), tmp_path / "out", max_shard_samples=3, jobs=jobs)
    assert read(tmp_path / "out") == [list(SAMPLES.items())[i] for i in order]
    assert (report.layout, report.num_samples, report.num_shards) == ("dataset", 7, 3)
    assert shardpack.open(tmp_path / "out").classes == ("cat", "dog")
    assert shardpack.verify(tmp_path / "out", full=True).ok


def test_a_dataset_packs_to_the_same_bytes(tmp_path):
    folder = image_folder(tmp_path / "photos", per_class=3)
    shardpack.pack(folder, tmp_path / "a", max_shard_bytes="16KiB", jobs=1)
    shardpack.pack(shardpack.open(tmp_path / "a"), tmp_path / "b", max_shard_bytes="16KiB", jobs=1)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {name: data for name, data in a.items() if name.endswith(".tar")} == {
        name: data for name, data in b.items() if name.endswith(".tar")
    }


def test_splits_are_kept_and_their_samples_put_together(tmp_path):
    with shardpack.ShardWriter(tmp_path / "source") as writer:
        for i, (key, fields) in enumerate(SAMPLES.items()):
            writer.write(key, fields, split=["val", "train", None][i // 3 % 3])
    ds = shardpack.open(tmp_path / "source")
    shardpack.pack(ds, tmp_path / "all", max_shard_samples=4, jobs=1)
    packed = shardpack.open(tmp_path / "all")
    assert packed.splits == ds.splits == {"train": 6, "val": 8}
    assert list(packed.splits) == ["train", "val"]
    assert [info.name for info in packed.shards if info.name.startswith("train")] == [
        "train-000000.tar",
        "train-000001.tar",
    ]
    for name in ds.splits:
        assert list(packed.split(name).keys()) == list(ds.split(name).keys())
    shardpack.pack(ds.select([19, 0, 4, 1]), tmp_path / "view", jobs=1)
    assert [(sample.key, sample.position) for sample in shardpack.open(tmp_path / "view").split("val")] == [
        ("019", 1),
        ("000", 2),
        ("001", 3),
    ]


def test_a_split_that_is_not_there_lists_nothing_else(tmp_path):
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        writer.write("a", {"txt": b"a"}, split="train")
    ds = shardpack.open(tmp_path / "ds")
    with pytest.raises(TypeError):
        ds.listing("trian")
    with pytest.raises(TypeError):
        ds.stream().listing("train")
    for source in (ds, ds.stream()):
        with pytest.raises(OptionError, match="has no split 'trian'"):
            shardpack.pack(source, tmp_path / "out", split="trian")


def test_packing_one_split_reads_the_indexes_of_its_shards_only(tmp_path):
    with shardpack.ShardWriter(tmp_path / "source", max_shard_samples=5) as writer:
        for i, (key, fields) in enumerate(SAMPLES.items()):
            writer.write(key, fields, split="train" if i < 15 else "val")
    store = CountingStore(file_contents(tmp_path / "source"))
    listed = DatasetSource(shardpack.open(store), "val").list(ListOptions())
    assert listed.listing.keys == [f"{i:03d}" for i in range(15, 20)]
    assert {path for path, _, _ in store.calls if "/index/" in path} == {".shardpack/index/val-000000.index"}
    assert DatasetSource(shardpack.open(store), "test").list(ListOptions()).listing.num_samples == 20


def test_a_stream_is_packed_as_it_comes(dataset, tmp_path):
    stream = dataset.stream(shuffle="global", seed=3)
    report = shardpack.pack(stream, tmp_path / "out")
    assert [key for key, _ in read(tmp_path / "out")] == [sample.key for sample in stream]
    assert report.layout == "dataset"


def test_damage_is_not_copied(dataset, tmp_path):
    shard = tmp_path / "source" / "shard-000001.tar"
    whole = bytearray(shard.read_bytes())
    _, entry, *_rest = (entry for entry in dataset.entries() if entry.shard == shard.name)  # opening reads the first
    whole[entry.fields["jpg"].offset] ^= 1
    shard.write_bytes(whole)
    with pytest.raises(CorruptShardError, match="verify the source") as caught:
        shardpack.pack(shardpack.open(tmp_path / "source"), tmp_path / "out", jobs=1)
    assert (caught.value.path, caught.value.key) == (shard.name, entry.key)


def test_repeated_samples_are_refused(dataset, tmp_path):
    with pytest.raises(SourceError, match="its key '001' is also that of '001'"):
        shardpack.pack(dataset.select([1, 1]), tmp_path / "out")


def test_images_of_a_dataset_can_be_checked(dataset, tmp_path):
    with pytest.raises(SourceError, match="does not begin like a jpg"):
        shardpack.pack(dataset, tmp_path / "out", check_images="signature")


def test_options_of_folders_are_refused(dataset, tmp_path):
    with pytest.raises(OptionError, match="layout is not for a dataset as source"):
        shardpack.pack(dataset, tmp_path / "out", layout="files")
    with pytest.raises(OptionError, match="the source has classes of its own"):
        shardpack.pack(dataset, tmp_path / "out", classes=["x"])


def test_listing_reads_no_payload(dataset):
    before = dataset.stats().bytes_used
    listed = DatasetSource(dataset).list(ListOptions())
    assert listed.listing.num_samples == 20
    assert listed.listing.crc32c is not None
    assert dataset.stats().bytes_used == before


def test_a_tar_without_checksums_leaves_the_others_theirs(dataset, tmp_path):
    store = LocalStore(tmp_path / "source")
    first, *_, last = dataset.entries()
    first.fields["jpg"] = replace(first.fields["jpg"], crc32c=None)
    listing = list_samples([(store, first, {}), (store, last, {})], location="", manifests=[0], classes=None)
    checksums = [last.fields[field].crc32c for field in sorted(last.fields)]
    check_payloads(listing, 0, [7, *checksums])
    with pytest.raises(CorruptShardError) as caught:
        check_payloads(listing, 0, [7, 7, *checksums[1:]])
    assert caught.value.key == last.key


def write_without_checksums(folder):
    """Write a dataset of one tar whose index has no checksums, because the payloads are large."""
    shardpack.pack([("a", {"jpg": bytes(4 << 20)}), ("b", {"jpg": b"b"})], folder)
    shutil.rmtree(folder / ".shardpack")
    assert shardpack.index(folder, checksums=False).without_checksums == 1


class Killed(Exception):  # noqa: N818 - a kill is no error
    """Stands for a signal."""


def kill_when_packed(phase, done, total):
    if phase == "pack" and done == total:
        raise Killed


def other_bytes(tar, *, at):
    """Change one byte of a payload, so that the index does not show it."""
    whole = bytearray(tar.read_bytes())
    whole[at] ^= 1
    tar.write_bytes(whole)
    os.utime(tar, ns=(1, 1))


def test_shards_of_other_bytes_are_not_taken_as_finished(tmp_path):
    source, out = tmp_path / "unchecked", tmp_path / "out"
    write_without_checksums(source)
    with pytest.raises(Killed):
        shardpack.pack(shardpack.open(source), out, jobs=1, progress=kill_when_packed)
    other_bytes(source / "shard-000000.tar", at=shardpack.open(source).locate(0).fields["jpg"].offset)
    assert shardpack.pack(shardpack.open(source), out, jobs=1).resumed_shards == 0
    assert read(out) == read(source)


def test_shards_of_the_same_bytes_are_taken_as_finished_wherever_they_are_named_from(tmp_path, monkeypatch):
    source, out = tmp_path / "unchecked", tmp_path / "out"
    write_without_checksums(source)
    with pytest.raises(Killed):
        shardpack.pack(shardpack.open(source), out, jobs=1, progress=kill_when_packed)
    monkeypatch.chdir(tmp_path)
    assert shardpack.pack(shardpack.open("unchecked"), out, jobs=1).resumed_shards == 1


@pytest.mark.usefixtures("dataset")
def test_without_versions_and_checksums_nothing_is_taken_as_finished(tmp_path):
    class Plain:
        """A store that reads ranges of the files of a folder, and has no versions."""

        def __init__(self, base):
            self.get_range, self.get_ranges, self.size = base.get_range, base.get_ranges, base.size

    source = tmp_path / "unchecked"
    write_without_checksums(source)
    plain = shardpack.open(adapt(Plain(LocalStore(source))))
    assert plain.listing().version != plain.listing().version
    whole = shardpack.open(adapt(Plain(LocalStore(tmp_path / "source"))))
    assert whole.listing().version == whole.listing().version
