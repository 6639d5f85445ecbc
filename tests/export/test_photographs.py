"""Two hundred photographs with labels of every kind go out in each format and are packed again."""

from __future__ import annotations

import json

import numpy as np
import pytest

import shardpack
from tests.photographs import resized

pytestmark = pytest.mark.slow
IMAGE_AND_LABEL = {"fields": ["jpg", "json"]}


def packed_again(ds, folder, to, **options):
    """Return the dataset that an export becomes; what is beside it in `folder` stays."""
    shardpack.export(ds, folder / to, to=to, jobs=1, **options)
    shardpack.pack(folder / to, folder / f"{to}-again", jobs=1)
    back = shardpack.open(folder / f"{to}-again")
    assert dict(back.splits) == dict(ds.splits)
    return back


def samples_of(ds, split, fields=("jpg", "json", "mirror.jpg", "seg.png")):
    """Return (key without its split, payloads, label) of each sample of a split."""
    return [
        (
            one.key.removeprefix(f"{split}/"),
            {field: one[field] for field in fields if field != "json"},
            one.decode("json"),
        )
        for one in ds.split(split)
    ]


def without_nulls(value):
    """Return a label of a table, where null and missing are one."""
    if isinstance(value, dict):
        return {name: without_nulls(one) for name, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("to", ["hdf5", "mds"])
def test_tables_that_hold_any_label(photographs, tmp_path, to):
    pytest.importorskip({"hdf5": "h5py"}.get(to, "numpy"))
    back = packed_again(photographs, tmp_path, to)
    for split in photographs.splits:
        assert samples_of(back, split) == samples_of(photographs, split)


def test_parquet(photographs, tmp_path):
    """Segmentations are lists or objects, so that they are JSON texts there, which are read again."""
    pytest.importorskip("pyarrow")
    back = packed_again(photographs, tmp_path, "parquet")
    assert back.classes == photographs.classes
    for split in photographs.splits:
        found = [(key, payloads, without_nulls(label)) for key, payloads, label in samples_of(back, split)]
        assert found == samples_of(photographs, split)


def test_tfrecord(photographs, tmp_path):
    """Objects are JSON texts there, which are read again, and lists of one value are that value, but for captions."""
    back = packed_again(photographs, tmp_path, "tfrecord")
    for split in photographs.splits:
        found, expected = samples_of(back, split), samples_of(photographs, split)
        for _, _, label in expected:
            label["tags"] = label["tags"][0] if len(label["tags"]) == 1 else label["tags"]
        assert found == expected


def test_lmdb(photographs, tmp_path):
    pytest.importorskip("lmdb")
    back = packed_again(photographs, tmp_path, "lmdb")
    for split in photographs.splits:
        expected = [(one.key, dict(one)) for one in photographs.split(split)]
        assert [(one.key.removeprefix(f"{split}/"), dict(one)) for one in back.split(split)] == expected


def test_webdataset(photographs, tmp_path):
    shardpack.export(
        photographs, tmp_path / "out", to="webdataset", pattern="{split}-%06d.tar", max_file_samples=70, jobs=1
    )
    shardpack.index(tmp_path / "out")
    back = shardpack.open(tmp_path / "out")
    assert [(one.key, dict(one)) for one in back] == [(one.key, dict(one)) for one in photographs]


def test_folder(photographs, tmp_path):
    """What is neither a number nor a text is JSON in a table of texts."""
    back = packed_again(photographs, tmp_path, "folder", **IMAGE_AND_LABEL)
    for split in photographs.splits:
        found = samples_of(back, split, ("jpg", "json"))
        for _, _, label in found:
            label.update({name: json.loads(label[name]) for name in ("sharp", "tags")})
        expected = samples_of(photographs, split, ("jpg", "json"))
        assert found == [(f"{label['class']}/{key}", payloads, label) for key, payloads, label in expected]


def test_coco(photographs, tmp_path):
    """All of a label is there, and the ids of images and annotations as well."""
    back = packed_again(photographs, tmp_path, "coco", **IMAGE_AND_LABEL)
    assert back.classes == photographs.classes
    for split in photographs.splits:
        found = samples_of(back, split, ("jpg", "json"))
        for number, (_, _, label) in enumerate(found, 1):
            assert label.pop("id") == number
        ids = [one.pop("id") for _, _, label in found for one in label["annotations"]]
        assert ids == list(range(1, len(ids) + 1))
        assert found == samples_of(photographs, split, ("jpg", "json"))


LOST = ["captions", "class", "crowd", "label", "score", "sharp", "tags"]
HELD = {
    "detect": lambda one: not one["iscrowd"],
    "segment": lambda one: isinstance(one.get("segmentation"), list),
    "pose": lambda one: "keypoints" in one,
}


@pytest.mark.parametrize("task", HELD)
def test_yolo(photographs, tmp_path, task):
    """Boxes, polygons or key points, to a millionth of a pixel."""
    held = HELD[task]
    with shardpack.ShardWriter(tmp_path / "ds", classes=photographs.classes) as writer:
        for split in photographs.splits:
            for key, payloads, label in samples_of(photographs, split, ("jpg", "json")):
                label["annotations"] = [one for one in label["annotations"] if held(one)]
                writer.write(key, {**payloads, "json": label}, split=split)
    ds = shardpack.open(tmp_path / "ds")
    back = packed_again(ds, tmp_path, "yolo", **IMAGE_AND_LABEL, task=task, drop=LOST)
    for split in ds.splits:
        found, expected = samples_of(back, split, ("jpg", "json")), samples_of(ds, split, ("jpg", "json"))
        assert [one[:2] for one in found] == [one[:2] for one in expected]
        for (_, _, label), (_, _, wanted) in zip(found, expected, strict=True):
            assert (label["width"], label["height"]) == (wanted["width"], wanted["height"])
            for one, other in zip(label["annotations"], wanted["annotations"], strict=True):
                assert (one["label"], one["class"]) == (other["label"], other["class"])
                assert numbers_of(one, task) == pytest.approx(numbers_of(other, task), abs=1e-6)


def numbers_of(annotation, task):
    if task == "segment":  # of several polygons one outline is left
        points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
        return [*points.min(axis=0), *points.max(axis=0)]
    return [*annotation["bbox"], *(annotation["keypoints"] if task == "pose" else ())]


def test_npz(photographs, tmp_path):
    """Images of one size, pixel for pixel; what all labels have as numbers and texts, and masks."""
    small = resized(photographs, tmp_path / "small")
    lost = ["annotations", "captions", "tags"]
    shardpack.export(small, tmp_path / "npz", to="npz", drop=lost, jobs=1)
    shardpack.pack(tmp_path / "npz", tmp_path / "again", raw="png", jobs=1)
    back = shardpack.open(tmp_path / "again")
    assert dict(back.splits) == dict(small.splits)
    for split in small.splits:
        for one, other in zip(back.split(split), small.split(split), strict=True):
            assert one.key.removeprefix(f"{split}/") == other.key
            assert np.array_equal(np.asarray(one.decode("png")), np.asarray(other.decode("png")))
            assert np.array_equal(np.asarray(one.decode("seg.png")), np.asarray(other.decode("seg.png")))
            label = other.decode("json")
            assert one.decode("json") == {name: label[name] for name in label if name not in lost}
