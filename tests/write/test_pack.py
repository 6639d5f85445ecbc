"""Which sources `pack` accepts, and the errors for others."""

from __future__ import annotations

import os

import pytest

import shardpack
from shardpack.errors import OptionError, SourceError
from tests.conftest import image_folder, make_jpeg
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
