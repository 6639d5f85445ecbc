"""Which datasets can be described by their tars, and where the files go."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

import shardpack
from shardpack.errors import CorruptShardError, OptionError, OutputExistsError, StaleIndexError
from shardpack.export.exporter import ExportOptions
from shardpack.export.formats import EXPORTERS
from shardpack.export.indexes.index_source import IndexSource, tars_of_splits
from shardpack.export.run import export
from shardpack.format.shard_info import ShardInfo
from shardpack.order.runs import Runs
from shardpack.storage.memory import MemoryStore
from tests import edits
from tests.export.indexes.samples import exported, make
from tests.fakes import file_contents
from tests.read.datasets import numbered, write
from tests.read.layered import layered

FORMATS = [name for name, where in EXPORTERS.items() if ".indexes." in where]


def write_tar(path, files, **how):
    """Write a tar as somebody's own tool would."""
    with tarfile.open(path, "w", **how) as archive:
        for name, payload in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            archive.addfile(info, io.BytesIO(payload))


def short(folder):
    """Return a dataset that every format takes."""
    with shardpack.ShardWriter(folder, max_shard_samples=2) as writer:
        for i in range(3):
            writer.write(f"a/{i}", {"jpg": b"x", "json": {"label": i}})
    return shardpack.open(folder)


@pytest.mark.parametrize("to", FORMATS)
def test_every_format_writes_beside_the_tars_and_overwrites_nothing(tmp_path, to):
    ds = short(tmp_path / "ds")
    before = file_contents(tmp_path / "ds")
    report = export(ds, to=to)
    made = {name: data for name, data in file_contents(tmp_path / "ds").items() if name not in before}
    assert len(made) == report.num_files > 0
    with pytest.raises(OutputExistsError, match="--force"):
        export(ds, to=to)
    export(ds, to=to, force=True)
    assert file_contents(tmp_path / "ds") == {**before, **made}  # the same bytes again


@pytest.mark.parametrize("to", FORMATS)
def test_views_are_refused(tmp_path, ds, to):
    with pytest.raises(OptionError, match="this is a view of some samples; pack the view first"):
        exported(ds.select([0]), tmp_path / "out", to)


@pytest.mark.parametrize("to", FORMATS)
def test_compressed_tars_are_refused(tmp_path, to):
    pytest.importorskip("zstandard")
    shardpack.pack({"a": {"json": {}}}.items(), tmp_path / "ds", compress={"shards": "zstd:3"})
    with pytest.raises(OptionError, match=r"plain tars only, and 'shard-000000.tar.zst' is compressed"):
        exported(shardpack.open(tmp_path / "ds"), tmp_path / "out", to)


@pytest.mark.parametrize("to", FORMATS)
def test_an_empty_dataset_is_described_or_refused(tmp_path, to):
    with shardpack.ShardWriter(tmp_path / "ds"):
        pass
    exported(shardpack.open(tmp_path / "ds"), tmp_path / "out", to)


@pytest.mark.parametrize("to", FORMATS)
def test_a_remote_dataset_is_described_in_a_folder(tmp_path, to):
    ds = shardpack.open(MemoryStore(file_contents(short(tmp_path / "ds").location)))
    assert exported(ds, tmp_path / "out", to)


@pytest.mark.parametrize("to", FORMATS)
def test_no_payload_is_read(tmp_path, to):
    short(tmp_path / "ds")
    ds = shardpack.open(MemoryStore(file_contents(tmp_path / "ds")), verify=True)
    export(ds, tmp_path / "out", to=to)
    tars = sum(info.num_bytes for info in ds.shards)
    assert ds.stats().bytes_fetched < tars + sum(info.index_bytes for info in ds.shards)


def test_options_about_samples_are_refused(tmp_path, ds):
    with pytest.raises(OptionError, match="dali describes whole tars"):
        exported(ds, tmp_path / "out", "dali", fields=["jpg"])


def test_tars_elsewhere_need_a_folder(tmp_path):
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars" / "x.tar", {"a.jpg": b"1"})
    shardpack.index(tmp_path / "tars", out=tmp_path / "ds")
    ds = shardpack.open(tmp_path / "ds")
    with pytest.raises(OptionError, match=r"are not in .*; name a folder, OUT"):
        export(ds, to="dali")
    assert exported(ds, tmp_path / "out", "dali") == {"x.idx": b"v1.2 1\njpg 512 1 a.jpg\n"}


def split_dataset(folder):
    """Return a dataset of three splits, each in tars of its own, and a sample in none."""
    with shardpack.ShardWriter(folder, max_shard_samples=2) as writer:
        for split, count in (("train", 3), ("validation", 1), ("test", 1), (None, 1)):
            for i in range(count):
                writer.write(f"{split}/{i}", {"jpg": b"x", "json": {"label": i}}, split=split)
    return shardpack.open(folder)


def test_splits_are_those_of_their_tars(tmp_path):
    ds = split_dataset(tmp_path / "ds")
    source = IndexSource(ds, ExportOptions(), to="energon", beside=True)
    assert source.splits == {
        "train": ["train-000000.tar", "train-000001.tar"],
        "validation": ["validation-000000.tar"],
        "test": ["test-000000.tar"],
    }
    split = exported(ds, tmp_path / "energon", "energon")[".nv-meta/split.yaml"].decode()
    assert split == (
        "split_parts:\n  train:\n  - train-{000000..000001}.tar\n  val:\n  - validation-000000.tar\n"
        "  test:\n  - test-000000.tar\nexclude: []\n"
    )
    card = exported(ds, tmp_path / "card", "hf-card")["README.md"].decode()
    assert '  - split: "train"\n    path: "train-*.tar"\n  - split: "validation"\n    path: "validation-*.tar"' in card
    assert "Samples in no split: 1." in card
    lists = exported(ds, tmp_path / "wids", "wids")
    assert [shard["url"] for shard in json.loads(lists["shardindex-train.json"])["shardlist"]] == source.splits["train"]
    assert len(json.loads(lists["shardindex.json"])["shardlist"]) == len(ds.shards) == 5
    assert len(lists) == 4


def test_deleted_samples_would_come_back(tmp_path):
    folder = write(tmp_path / "out", numbered(4))
    edits.deleted(folder, 1, 2)
    with pytest.raises(OptionError, match="wids describes whole tars, and 2 deleted samples are still in these; pack"):
        exported(shardpack.open(folder), tmp_path / "lists", "wids")


def test_labels_in_a_layer_would_be_the_old_ones(tmp_path):
    labels = {key: {"json": b"1"} for key in numbered(4)}
    folder = layered(tmp_path / "out", numbered(4), labels)
    with pytest.raises(
        OptionError, match="wids describes whole tars, and these have none of the fields of layers; pack"
    ):
        exported(shardpack.open(folder), tmp_path / "lists", "wids")


def test_splits_inside_a_tar_are_refused():
    shards = [ShardInfo(f"{name}.tar", 4, 1, None, 1, 0, {}) for name in "ab"]
    splits = {"train": Runs([0], [4]), "val": Runs([4], [3])}
    with pytest.raises(OptionError, match="split 'val' begins or ends inside a tar; pack"):
        tars_of_splits(splits, shards, "energon")
    assert tars_of_splits({"val": Runs([0], [4])}, shards, "wids") == {"val": ["a.tar"]}


def test_hashes_are_those_of_what_was_indexed(tmp_path):
    ds = make(tmp_path / "ds")
    source = IndexSource(ds, ExportOptions(), to="hfutils", beside=True)
    assert source.hashes(0).members == ()
    tar = tmp_path / "ds" / "shard-000000.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(data)
    with pytest.raises((CorruptShardError, StaleIndexError)):
        exported(shardpack.open(tmp_path / "ds"), tmp_path / "out", "hfutils", hashes=True)
    assert not list((tmp_path / "out").rglob("*.json"))


def test_a_title_is_the_name_of_the_folder(tmp_path):
    assert IndexSource(make(tmp_path / "pets"), ExportOptions(), to="wids", beside=True).title == "pets"


@pytest.mark.parametrize("to", ["dali", "energon", "ratarmount", "wids", "hfutils", "webshart", "croissant"])
def test_progress_reaches_the_end(tmp_path, to):
    ds, calls = short(tmp_path / "ds"), []
    export(ds, tmp_path / "plain", to=to, progress=lambda *call: calls.append(call))
    assert to == "croissant" or calls[-1] == ("export", 3, 3)
    if to in ("wids", "hfutils", "webshart", "croissant"):
        export(ds, tmp_path / "hashed", to=to, hashes=True, progress=lambda *call: calls.append(call))
        assert ("hash", ds.manifest.num_bytes, ds.manifest.num_bytes) in calls
