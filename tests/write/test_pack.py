"""Which sources `pack` accepts, and the errors for others."""

from __future__ import annotations

import os

import pytest

import shardpack
from shardpack.errors import CorruptShardError, OptionError, SourceError
from shardpack.runtime import processes
from shardpack.runtime.child import Child
from shardpack.runtime.cores import usable_cores
from tests.conftest import image_folder, make_jpeg
from tests.fakes import file_contents
from tests.sources.archives.zips import make_zip
from tests.sources.trees import write_tree


@pytest.mark.parametrize("source", [3, None, object()])
def test_other_sources_are_refused(tmp_path, source):
    with pytest.raises(OptionError, match=r"cannot pack .*: expected a folder, a dataset, or an iterable"):
        shardpack.pack(source, tmp_path / "out")


@pytest.mark.parametrize("mode", [None, "decode"])
def test_unreadable_files_are_skipped_and_counted(tmp_path, monkeypatch, mode):
    """`os.access` is replaced, as this may run as root, who can read all files."""
    source = image_folder(tmp_path / "photos", per_class=3)
    locked = source / "cat" / "0001.jpg"
    locked.chmod(0)
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, how: os.fspath(path) != str(locked) and real(path, how))
    with pytest.raises(SourceError, match="unreadable: permission denied; change its permissions"):
        shardpack.pack(source, tmp_path / "out", check_images=mode)
    report = shardpack.pack(source, tmp_path / "out", check_images=mode, on_error="skip")
    assert [name for name, _ in report.rejected] == ["cat/0001.jpg"]
    assert len(shardpack.open(tmp_path / "out")) == report.num_samples == 5


def test_classes_for_a_source_without(tmp_path):
    (tmp_path / "photos").mkdir()
    image_folder(tmp_path / "photos", per_class=1)
    shardpack.pack(tmp_path / "photos", tmp_path / "out", layout="files", classes=["x", "y"])
    assert shardpack.open(tmp_path / "out").classes == ("x", "y")
    with pytest.raises(OptionError, match="the source has classes of its own"):
        shardpack.pack(tmp_path / "photos", tmp_path / "other", classes=["x"])


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_dataset_is_not_packed_over_itself(tmp_path, jobs):
    with shardpack.ShardWriter(tmp_path / "ds", max_shard_samples=1) as writer:
        for key in "abcd":
            writer.write(key, {"txt": key})
    ds = shardpack.open(tmp_path / "ds")
    for source in (ds, ds.select([0, 2])):
        with pytest.raises(OptionError, match="source and target are the same"):
            shardpack.pack(source, tmp_path / "ds", force=True, jobs=jobs)
    assert [sample["txt"] for sample in shardpack.open(tmp_path / "ds")] == [b"a", b"b", b"c", b"d"]


@pytest.mark.parametrize("options", [{}, {"resize": "short=16"}, {"max_shard_samples": 1}], ids=str)
def test_no_more_jobs_are_started_than_there_are_tasks(tmp_path, monkeypatch, options):
    started = []

    class Counted(Child):
        def __init__(self, **threads):
            started.append(self)
            assert len(started) < 50
            super().__init__(**threads)

    monkeypatch.setattr(processes, "Child", Counted)
    source = image_folder(tmp_path / "photos", per_class=3)
    shardpack.pack(source, tmp_path / "out", jobs=99_999_999_999, **options)
    shardpack.pack(source, tmp_path / "one", jobs=1, **options)
    assert file_contents(tmp_path / "out") == file_contents(tmp_path / "one")
    assert len(started) <= usable_cores() + 6


def test_the_shape_of_labels_is_recorded_and_follows_the_image(tmp_path):
    """From a set of YOLO, through a resize, to a dataset packed from a dataset."""
    write_tree(tmp_path / "set", {"images/train/a.jpg": make_jpeg(200, 100), "data.yaml": "names: [cat]"})
    write_tree(tmp_path / "set", {"labels/train/a.txt": "0 0.5 0.5 0.2 0.1"})
    shardpack.pack(tmp_path / "set", tmp_path / "plain")
    ds = shardpack.open(tmp_path / "plain")
    assert ds.manifest.option("label_shape") == "annotations"
    assert ds.classes == ("cat",)
    assert list(ds.keys()) == ["train/a"]
    shardpack.pack(tmp_path / "plain", tmp_path / "small", resize="exact=50x50")
    small = shardpack.open(tmp_path / "small")
    assert small.manifest.option("label_shape") == "annotations"
    box = {"bbox": [20, 22.5, 10, 5], "category_id": 0, "label": 0, "class": "cat"}
    assert small[0].decode("json") == {"width": 50, "height": 50, "annotations": [box]}
    image_folder(tmp_path / "photos", per_class=1)
    shardpack.pack(tmp_path / "photos", tmp_path / "other")
    assert shardpack.open(tmp_path / "other").manifest.option("label_shape") is None


@pytest.fixture
def splits(tmp_path):
    """Six images of two classes in each of two splits."""
    for split in ("val", "train"):
        image_folder(tmp_path / "photos" / split, per_class=3)
    return tmp_path / "photos"


@pytest.mark.parametrize("steps", [{}, {"resize": "long=8"}], ids=["planned", "chunked"])
def test_splits_of_a_folder_are_packed_alike_by_jobs_and_parts(splits, tmp_path, steps):
    options = {"max_shard_samples": 4, "shuffle_seed": 3, **steps}
    report = shardpack.pack(splits, tmp_path / "one", jobs=1, **options)
    assert report.splits == {"train": 6, "val": 6}
    ds = shardpack.open(tmp_path / "one")
    assert ds.splits == {"train": 6, "val": 6}
    assert {info.name.partition("-")[0] for info in ds.shards} == {"train", "val"}
    assert ds.shards[0].name.startswith("train-000000")
    assert ds.classes == ("cat", "dog")
    for name in ds.splits:
        assert all(sample.key.startswith(f"{name}/") for sample in ds.split(name))
    shardpack.pack(splits, tmp_path / "two", jobs=2, **options)
    assert file_contents(tmp_path / "two") == file_contents(tmp_path / "one")
    for part in ("2/2", "1/2"):
        shardpack.pack(splits, tmp_path / "parts", jobs=1, part=part, **options)
    assert file_contents(tmp_path / "parts") == file_contents(tmp_path / "one")


@pytest.mark.parametrize("steps", [{}, {"resize": "long=8"}], ids=["planned", "chunked"])
def test_one_split_is_packed_alone(splits, tmp_path, steps):
    shardpack.pack(splits, tmp_path / "all", shuffle_seed=1, jobs=1, **steps)
    ds = shardpack.open(tmp_path / "all")
    for source in (splits, ds):
        out = tmp_path / type(source).__name__
        report = shardpack.pack(source, out, split="val", shuffle_seed=1, jobs=1, **steps)
        val = shardpack.open(out)
        assert (report.splits, val.splits, len(val)) == ({}, {}, 6)
        assert all(info.name.startswith("shard-00000") for info in val.shards)
        assert val.manifest.option("split") == "val"
        assert set(val.keys()) == set(ds.split("val").keys())
        with pytest.raises(OptionError, match="no split 'test'; choose one of 'train', 'val'"):
            shardpack.pack(source, tmp_path / "other", split="test", jobs=1)


def test_one_split_of_what_has_none(tmp_path):
    folder = image_folder(tmp_path / "photos", per_class=1)
    with pytest.raises(OptionError, match=r"has no splits.*leave out split \(--split\)"):
        shardpack.pack(folder, tmp_path / "out", split="train")
    with pytest.raises(OptionError, match="split is not for an iterable"):
        shardpack.pack(iter([("a", {"txt": "1"})]), tmp_path / "out", split="train")
    with pytest.raises(OptionError, match=r"split is \['train'\], expected the name of one split"):
        shardpack.pack(folder, tmp_path / "out", split=["train"])


def test_samples_that_ask_a_question_are_left_out_under_skip(tmp_path):
    write_tree(tmp_path / "photos", {
        "a.jpg": make_jpeg(seed=1), "a.json": b'{"label": 1}',
        "b.jpg": make_jpeg(seed=2), "b.json": b'{"bbox": [1, 2, 3, 4]}',
        "c.jpg": make_jpeg(seed=3), "c.webp": b"taken", "c.json": b'{"label": 2}',
    })  # fmt: skip
    options = {"layout": "files", "resize": "long=8", "encode": "webp:q=50", "keep": ["webp"], "jobs": 1}
    with pytest.raises(
        OptionError, match=r"--labels keep\), or leave such samples out with .*--on-error skip.*key='b'"
    ):
        shardpack.pack(tmp_path / "photos", tmp_path / "out", **options)
    report = shardpack.pack(tmp_path / "photos", tmp_path / "out", on_error="skip", **options)
    assert [name for name, _ in report.rejected] == ["b.jpg", "c.jpg"]
    assert "coordinates at bbox" in report.rejected[0][1]
    assert "has a field 'webp' already, which 'jpg' would be stored as" in report.rejected[1][1]
    assert [sample.key for sample in shardpack.open(tmp_path / "out")] == ["a"]


def test_what_listing_and_what_checking_finds_is_said_together(tmp_path):
    write_tree(tmp_path / "set", {"a.jpg": make_jpeg(20, 10), "b.jpg": make_jpeg(20, 10)[:-20], "c.jpg": b""})
    with pytest.raises(SourceError, match=r"2 problems .* 'c.jpg' is empty.*'b.jpg': jpg: does not decode"):
        shardpack.pack(tmp_path / "set", tmp_path / "out", check_images="decode", jobs=1)
    (tmp_path / "set" / "b.jpg").unlink()
    with pytest.raises(SourceError, match=r"1 problem .* 'c.jpg' is empty"):
        shardpack.pack(tmp_path / "set", tmp_path / "out", check_images="decode", jobs=1)


@pytest.mark.parametrize("dry_run", [False, True])
def test_labels_are_checked_against_their_images(tmp_path, dry_run):
    write_tree(tmp_path / "set", {"a.jpg": make_jpeg(20, 10), "b.jpg": make_jpeg(20, 10)})
    write_tree(tmp_path / "set", {"a.json": '{"width": 10, "height": 20}', "b.json": '{"width": 20, "height": 10}'})
    options = {"check_labels": True, "dry_run": dry_run}
    with pytest.raises(SourceError, match=r"'a\.jpg': the label is for 10 x 20 pixels, but the image has 20 x 10"):
        shardpack.pack(tmp_path / "set", tmp_path / "out", **options)
    report = shardpack.pack(tmp_path / "set", tmp_path / "out", on_error="skip", **options)
    assert report.num_samples == 1
    with pytest.raises(OptionError, match="check_labels is not for"):
        shardpack.pack([("a", {"json": {}})], tmp_path / "other", check_labels=True)


@pytest.fixture
def damaged_zip(tmp_path):
    """A zip of four images, one of which is damaged behind its first bytes."""
    images = {f"{name}.jpg": make_jpeg(seed=number) for number, name in enumerate("abcd")}
    content = make_zip(images)
    path = tmp_path / "images.zip"
    path.write_bytes(content.replace(images["b.jpg"], images["b.jpg"][:-9] + b"x" * 9))
    return path


def test_a_damaged_member_of_a_zip_ends_a_planned_run_and_the_error_says_how_to_skip_it(tmp_path, damaged_zip):
    with pytest.raises(CorruptShardError, match=r"its CRC-32 differs; download the archive again \(path='images.zip'"):
        shardpack.pack(damaged_zip, tmp_path / "out")
    with pytest.raises(CorruptShardError, match=r"or leave such samples out .*also give check_images='decode' \(--ch"):
        shardpack.pack(damaged_zip, tmp_path / "out", on_error="skip")
    report = shardpack.pack(damaged_zip, tmp_path / "out", on_error="skip", check_images="decode")
    assert [name for name, _ in report.rejected] == ["b"]
    assert list(shardpack.open(tmp_path / "out").keys()) == ["a", "c", "d"]


def test_a_damaged_member_of_a_zip_is_skipped_where_samples_are_transformed(tmp_path, damaged_zip):
    options = {"resize": "long=16", "jobs": 1}
    with pytest.raises(SourceError, match=r"member 'b\.jpg' of a zip archive is damaged: its CRC-32 differs"):
        shardpack.pack(damaged_zip, tmp_path / "out", **options)
    report = shardpack.pack(damaged_zip, tmp_path / "out", on_error="skip", **options)
    assert [(name, "its CRC-32 differs" in why) for name, why in report.rejected] == [("b", True)]
    assert (report.num_samples, report.source_samples) == (3, 4)


def test_a_folder_is_not_packed_into_itself(tmp_path):
    image_folder(tmp_path, per_class=1)
    with pytest.raises(OptionError, match=r"source and target are the same: .*; name another target"):
        shardpack.pack(tmp_path, tmp_path / "x" / "..")
    assert not (tmp_path / ".shardpack").exists()
