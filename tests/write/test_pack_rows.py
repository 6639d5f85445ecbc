"""Files in a foreign format are packed as folders are: the same bytes for any jobs and parts, with all options."""

from __future__ import annotations

import gzip
import json
import os

import numpy as np
import pytest

import shardpack
from shardpack.codecs.encode import encode_field
from shardpack.errors import DuplicateKeyError, OptionError, ShardpackError, SourceError
from shardpack.runtime.processes import WorkerPool
from shardpack.sources.formats.example import encode_example
from shardpack.sources.formats.guarded import GuardedRows
from shardpack.sources.formats.tfrecord_file import encode_record
from tests.fakes import contents
from tests.sources.formats.test_guarded import Numbers
from tests.write.test_make_there import OtherMachine

JPEG = encode_field("jpg", np.zeros((8, 12, 3), np.uint8))
PNG = encode_field("png", np.zeros((8, 12, 3), np.uint8))


def record(number, **more):
    features = {"image": JPEG + bytes(200 * (number % 7)), "label": number % 3, "id": f"n{number:03d}"}
    return encode_record(encode_example({**features, **more}))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    for split, first, count in (("train", 0, 30), ("train", 30, 11), ("val", 41, 9)):
        name = f"{split}-{first:05d}-of-00041.tfrecord"
        (folder / name).write_bytes(b"".join(record(number) for number in range(first, first + count)))
    return folder


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    shardpack.pack(source, out, jobs=1, max_shard_samples=7)
    return out


def test_rows_become_samples_in_their_splits(whole):
    with shardpack.open(whole) as ds:
        assert ds.splits == {"train": 41, "val": 9}
        assert list(ds.keys()) == [f"{'train' if number < 41 else 'val'}/n{number:03d}" for number in range(50)]
        assert ds[5]["jpg"] == JPEG + bytes(1000)
        assert ds[5].decode("json") == {"label": 2}
    names = sorted(name for name in os.listdir(whole) if name.endswith(".tar"))
    assert names[0] == "train-000000-00.tar"
    assert names[-1] == "val-000001-00.tar"


@pytest.mark.parametrize("name", ["s.tfrecord.gz", "m.msgpack"])
def test_a_file_of_few_rows_whose_number_only_reading_tells_is_packed(tmp_path, name):
    if name.endswith(".gz"):
        content = gzip.compress(b"".join(record(number) for number in range(3)))
    else:
        msgpack = pytest.importorskip("msgpack")
        content = b"".join(msgpack.packb({"image": JPEG, "label": number, "id": f"n{number}"}) for number in range(3))
    (tmp_path / name).write_bytes(content)
    shardpack.pack(tmp_path / name, tmp_path / "out", jobs=1)
    with shardpack.open(tmp_path / "out") as ds:
        assert [sample.decode("json")["label"] for sample in (ds[0], ds[1], ds[2])] == [0, 1, 2]
        assert len(ds) == 3


@pytest.mark.parametrize("jobs", [2, None, 99_999_999_999])
def test_jobs_change_no_byte(source, whole, tmp_path, jobs):
    report = shardpack.pack(source, tmp_path / "out", jobs=jobs, max_shard_samples=7)
    assert contents(tmp_path / "out") == contents(whole)
    assert (report.layout, report.num_samples, report.source_samples, report.kept) == ("tfrecord", 50, 50, 50)


def test_parts_make_the_same(source, whole, tmp_path):
    for part in ("2/2", "1/2"):
        report = shardpack.pack(source, tmp_path / "out", jobs=1, max_shard_samples=7, part=part)
    assert report.missing_shards == 0
    assert contents(tmp_path / "out") == contents(whole)
    again = shardpack.pack(source, tmp_path / "out", jobs=1, max_shard_samples=7, part="1/2")
    assert again.num_samples == 50
    with pytest.raises(shardpack.errors.OutputExistsError):
        shardpack.pack(source, tmp_path / "out", jobs=1, max_shard_samples=6, part="1/2")


def test_another_machine_makes_the_same(source, whole, tmp_path):
    with WorkerPool(1) as pool:
        shardpack.pack(source, tmp_path / "out", engine=OtherMachine(pool), max_shard_samples=7)
    assert contents(tmp_path / "out") == contents(whole)


def test_a_run_that_failed_is_continued(source, whole, tmp_path):
    calls = []

    def fail_late(phase, *_):
        calls.append(phase)
        if len(calls) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shardpack.pack(source, tmp_path / "out", jobs=1, max_shard_samples=7, progress=fail_late)
    assert not (tmp_path / "out" / ".shardpack" / "manifest.json").exists()
    report = shardpack.pack(source, tmp_path / "out", jobs=1, max_shard_samples=7)
    assert report.resumed_shards > 0
    assert contents(tmp_path / "out") == contents(whole)


def test_what_was_found_is_said_before(source, tmp_path):
    said = []
    report = shardpack.pack(source, tmp_path / "out", dry_run=True, announce=said.append)
    assert said == [report.found]
    assert report.found == (
        "TFRecord: 50 records in 3 files; a sample is jpg (image) + json (label; label: label); key: id"
    )
    assert [(shown.key, shown.split) for shown in report.preview] == [
        ("train/n000", "train"),
        ("train/n030", "train"),
        ("val/n041", "val"),
    ]
    assert report.preview[0].labels == {"json": '{"label":0}'}
    assert report.num_samples == 50
    assert not (tmp_path / "out").exists()


def test_patterns_that_no_file_matches_are_said(source, tmp_path):
    said = []
    shardpack.pack(source, tmp_path / "out", ignore=["*.none"], dry_run=True, announce=said.append)
    assert "no file matches '*.none'" in said


def test_one_split_alone(source, tmp_path):
    shardpack.pack(source, tmp_path / "out", split="val", jobs=1)
    with shardpack.open(tmp_path / "out") as ds:
        assert (len(ds), dict(ds.splits)) == (9, {})
    with pytest.raises(OptionError, match="no split 'test'; choose one of 'train', 'val'"):
        shardpack.pack(source, tmp_path / "test", split="test")


def test_bad_rows_follow_on_error(tmp_path):
    data = bytearray(b"".join(record(number) for number in range(3)) + record(3, image=b""))
    data[len(record(0)) + 30] ^= 1
    (tmp_path / "a.tfrecord").write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"does not have its checksum.*path='a\.tfrecord, record 1 at byte"):
        shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1)
    report = shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, on_error="skip")
    assert (report.num_samples, report.source_samples, report.kept) == (3, 4, 3)
    ((name, reason),) = report.rejected
    assert (name.startswith("a.tfrecord, record 1"), reason) == (
        True,
        "its data does not have its checksum; copy the file again",
    )
    rejected = (tmp_path / "out" / ".shardpack" / "rejected.jsonl").read_text().splitlines()
    assert json.loads(rejected[0])["name"] == name


def test_steps_work_on_rows(source, tmp_path):
    shardpack.pack(
        source, tmp_path / "out", jobs=1, resize="exact=4x6", encode="png", rename_field={"png": "small.png"},
        compress={"json": "zstd:3", "shards": "zstd:3"}, transform=add_field,
    )  # fmt: skip
    with shardpack.open(tmp_path / "out") as ds:
        assert sorted(ds.fields) == ["json.zst", "small.png", "txt"]
        assert ds[0].decode("small.png").size == (4, 6)
        assert ds[0]["txt"] == b"2"
        assert ds.shards[0].name == "train-000000-00.tar.zst"


def add_field(fields):
    return {**fields, "txt": str(len(fields) - 2)}


def test_images_are_checked_on_the_way(tmp_path):
    records = [record(0), record(1, image=PNG), record(2, image=PNG[:40])]
    (tmp_path / "a.tfrecord").write_bytes(b"".join(records))
    report = shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, check_images="decode", on_error="skip")
    assert report.num_samples == 2
    assert report.rejected[0][0].startswith("a.tfrecord, row 2")


def test_unsafe_keys_follow_rename_keys(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"".join(record(n, id=f"a b{n}") for n in range(2)))
    with pytest.raises(SourceError, match="unsafe key"):
        shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, key_column="id")
    shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, key_column="id", rename_keys=True)
    with shardpack.open(tmp_path / "out") as ds:
        assert list(ds.keys()) == ["a%20b0", "a%20b1"]


def test_equal_keys_are_an_error(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"".join(record(n, id="a") for n in range(2)))
    with pytest.raises(DuplicateKeyError):
        shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, key_column="id")
    shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1)  # the first rows tell that it holds no keys


def test_options_that_mean_nothing_are_refused(source, tmp_path):
    with pytest.raises(OptionError, match="pack them without shuffle_seed, then pack the dataset with it"):
        shardpack.pack(source, tmp_path / "out", shuffle_seed=0)
    with pytest.raises(OptionError, match="raw"):
        shardpack.pack(source, tmp_path / "out", raw="png")
    with pytest.raises(OptionError, match="annotations"):
        shardpack.pack(source, tmp_path / "out", source_format="tfrecord", annotations="x.json")
    with pytest.raises(OptionError, match="source_format is 'nonsense'"):
        shardpack.pack(source, tmp_path / "out", source_format="nonsense")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(PNG)
    with pytest.raises(OptionError, match="raw is not for images with labels"):
        shardpack.pack(tmp_path / "images", tmp_path / "out", raw="png")
    with pytest.raises(OptionError, match="key_column is not for an iterable"):
        shardpack.pack([("a", {"txt": b""})], tmp_path / "out", key_column="id")


def test_class_names_may_be_given_where_the_source_has_none(source, tmp_path):
    shardpack.pack(source, tmp_path / "out", jobs=1, classes=["a", "b", "c"])
    with shardpack.open(tmp_path / "out") as ds:
        assert ds.classes == ("a", "b", "c")
        assert ds[5].decode("json") == {"label": 2, "class": "c"}
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tfrecord").write_bytes(record(0))
    (tmp_path / "in" / "label.labels.txt").write_text("x\ny\nz\n")
    with pytest.raises(OptionError, match="classes are not for this source"):
        shardpack.pack(tmp_path / "in", tmp_path / "other", classes=["a", "b", "c"])


def test_texts_are_numbered_alike_for_any_jobs_parts_and_splits(tmp_path):
    for split, names in (("train", "cbaa"), ("val", "da")):
        records = (record(number, label=name) for number, name in enumerate(names))
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{split}.tfrecord").write_bytes(b"".join(records))
    shardpack.pack(tmp_path / "in", tmp_path / "whole", jobs=1, max_shard_samples=2)
    for part in ("2/2", "1/2"):
        shardpack.pack(tmp_path / "in", tmp_path / "parts", jobs=2, max_shard_samples=2, part=part)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    shardpack.pack(tmp_path / "in", tmp_path / "val", jobs=1, split="val")
    with shardpack.open(tmp_path / "whole") as ds, shardpack.open(tmp_path / "val") as val:
        assert ds.classes == val.classes == ("a", "b", "c", "d")
        assert [sample.decode("json")["label"] for sample in ds] == [2, 1, 0, 0, 3, 0]
        assert val[0].decode("json") == {"label": 3, "class": "d"}


def test_a_split_of_a_folder_of_images(tmp_path):
    for split in ("train", "val"):
        (tmp_path / "in" / split / "cat").mkdir(parents=True)
        (tmp_path / "in" / split / "cat" / "a.png").write_bytes(PNG)
    shardpack.pack(tmp_path / "in", tmp_path / "out", split="val", jobs=1)
    with shardpack.open(tmp_path / "out") as ds:
        assert (len(ds), dict(ds.splits)) == (1, {})


def test_a_larger_sample_than_a_shard(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(record(0) + record(1, image=JPEG + bytes(50_000)))
    with pytest.raises(SourceError, match=r"raise max_shard_bytes \(--max-shard-bytes\), or .* \(--allow-oversized\)"):
        shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, max_shard_bytes=20_000)
    shardpack.pack(tmp_path / "a.tfrecord", tmp_path / "out", jobs=1, max_shard_bytes=20_000, allow_oversized=True)
    with shardpack.open(tmp_path / "out") as ds:
        assert len(ds.shards) == 2


def test_files_behind_a_url_need_their_format(tmp_path):
    from shardpack.storage.open import open_store

    open_store("memory://pack-rows/in").put("a.tfrecord", record(0) + record(1))
    shardpack.pack("memory://pack-rows/in/a.tfrecord", tmp_path / "out", source_format="tfrecord", jobs=1)
    with shardpack.open(tmp_path / "out") as ds:
        assert list(ds.keys()) == ["n000", "n001"]


def test_a_library_that_ends_the_process_costs_a_worker_with_one_job_too(tmp_path, monkeypatch):
    monkeypatch.setattr("shardpack.write.pack_rows.open_format", lambda *_: GuardedRows(Numbers(dies_at=150)))
    (tmp_path / "t.x").touch()
    with pytest.raises(ShardpackError, match=r"worker process ended with exit code 9 while it read t\.x; run the same"):
        shardpack.pack(tmp_path / "t.x", tmp_path / "out", source_format="lmdb", jobs=1, on_error="skip")
    assert not (tmp_path / "out" / ".shardpack" / "manifest.json").exists()
