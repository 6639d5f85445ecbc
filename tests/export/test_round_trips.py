"""What is exported and packed again is the same: samples, payloads byte for byte, values, splits."""

from __future__ import annotations

import json

import numpy as np
import pytest

import shardpack
from shardpack.export.formats import EXPORTERS
from tests.conftest import make_jpeg
from tests.export.datasets import CLASSES

SPLITS = {"train": 5, "test": 3}
FORMATS = [name for name, place in EXPORTERS.items() if ".formats." in place]
NESTED = {"box": {"x": 3, "y": [1.5, 2]}}


def sample(number):
    label = {
        "caption": f"é {number}",
        "class": CLASSES[number % 2],
        "label": number % 2,
        "points": [number + 0.5, -1.25, 3.0],
        "score": number / 4,
    }
    return {"jpg": make_jpeg(seed=number), "json": label}


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    """Eight samples of two splits, with labels of all kinds that tables hold."""
    folder = tmp_path_factory.mktemp("round") / "ds"
    with shardpack.ShardWriter(folder, classes=CLASSES, max_shard_samples=3) as writer:
        for number in range(8):
            split = "train" if number < 5 else "test"
            writer.write(f"{split}/{number:04d}", sample(number), split=split)
    return shardpack.open(folder)


def again(ds, folder, to, **options):
    shardpack.export(ds, folder / to, to=to, jobs=1, **options)
    shardpack.pack(folder / to, folder / "again", jobs=1)
    return shardpack.open(folder / "again")


def plain(one, split=""):
    """Return the payloads and values of a sample, under its key without the split."""
    key = one.key.removeprefix(f"{split}/").removeprefix(f"{split}/")
    return key, {field: one.decode(field) if field == "json" else payload for field, payload in one.items()}


@pytest.mark.parametrize("to", ["parquet", "mds", "tfrecord", "hdf5"])
def test_tables(ds, tmp_path, to):
    pytest.importorskip({"parquet": "pyarrow", "hdf5": "h5py"}.get(to, "numpy"))
    back = again(ds, tmp_path, to)
    assert dict(back.splits) == SPLITS
    for split in SPLITS:
        found = [plain(one, split) for one in back.split(split)]
        expected = [plain(one, split) for one in ds.split(split)]
        assert found == expected


def test_lmdb(ds, tmp_path):
    pytest.importorskip("lmdb")
    back = again(ds, tmp_path, "lmdb")
    assert dict(back.splits) == SPLITS
    for split in SPLITS:
        found = [(one.key, dict(one)) for one in back.split(split)]
        assert found == [(one.key, dict(one)) for one in ds.split(split)], "byte for byte, labels too"


NAMES = ("zebra", "ant", "no sample", "cow")  # neither sorted nor complete in the labels


@pytest.mark.parametrize("splits", [("train",), ("train", "val")])
@pytest.mark.parametrize("to", FORMATS)
def test_class_names_come_back(tmp_path, to, splits):
    pytest.importorskip({"parquet": "pyarrow", "hdf5": "h5py", "lmdb": "lmdb"}.get(to, "numpy"))
    with shardpack.ShardWriter(tmp_path / "ds", classes=NAMES) as writer:
        for number, label in enumerate((3, 0, 1, 0)):
            own = {"label": label, "class": NAMES[label]}
            boxes = {"width": 32, "height": 24, "annotations": [{"bbox": [4, 4, 8, 8], **own}]}
            split = splits[number % len(splits)]
            fields = {"jpg": make_jpeg(seed=number), "json": boxes if to in ("coco", "yolo") else own}
            writer.write(f"s{number}", fields, split=split if len(splits) > 1 else None)
    shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / "out", to=to, jobs=1)
    shardpack.pack(tmp_path / "out", tmp_path / "again", raw="png" if to == "npz" else None, jobs=1)
    back = shardpack.open(tmp_path / "again")
    assert back.classes == NAMES
    labels = {}
    for one in back:
        label = one.decode("json")
        label = label["annotations"][0] if "annotations" in label else label
        labels[one.key.rpartition("/")[2]] = label["label"], label["class"]
    assert labels == {"s0": (3, "cow"), "s1": (0, "zebra"), "s2": (1, "ant"), "s3": (0, "zebra")}


@pytest.mark.parametrize("own", ["target", "y", "label", "class_id"])
@pytest.mark.parametrize("to", ["mds", "tfrecord", "parquet", "hdf5"])
def test_classes_of_boxes_name_no_number_beside_them(tmp_path, to, own):
    pytest.importorskip({"parquet": "pyarrow", "hdf5": "h5py"}.get(to, "numpy"))
    box = {"bbox": [4.0, 4.0, 8.0, 8.0], "label": 3, "class": "cow"}
    labels = {f"s{number}": {own: value, "annotations": [box]} for number, value in enumerate((1, 0, 10))}
    with shardpack.ShardWriter(tmp_path / "ds", classes=NAMES) as writer:
        for key, label in labels.items():
            writer.write(key, {"jpg": make_jpeg(), "json": label})
    back = again(shardpack.open(tmp_path / "ds"), tmp_path, to)
    assert back.classes == NAMES
    assert {one.key: one.decode("json") for one in back} == labels


@pytest.mark.parametrize("to", ["mds", "tfrecord"])
def test_fractions_called_label_stay_fractions_beside_a_class_list(tmp_path, to):
    with shardpack.ShardWriter(tmp_path / "ds", classes=NAMES) as writer:
        for number in range(4):
            writer.write(str(number), {"jpg": make_jpeg(), "json": {"label": number / 2}})
    back = again(shardpack.open(tmp_path / "ds"), tmp_path, to)
    assert [repr(one.decode("json")["label"]) for one in back] == ["0.0", "0.5", "1.0", "1.5"]


def test_classes_of_boxes_alone_come_back_from_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    with shardpack.ShardWriter(tmp_path / "ds", classes=NAMES) as writer:
        writer.write("a", {"jpg": make_jpeg(), "json": {"annotations": [{"bbox": [4, 4, 8, 8], "label": 3}]}})
    assert again(shardpack.open(tmp_path / "ds"), tmp_path, "parquet").classes == NAMES


def test_splits_of_any_name_come_back_from_yolo(tmp_path):
    label = {"width": 32, "height": 24, "annotations": [{"bbox": [4, 4, 8, 8], "label": 0, "class": "cat"}]}
    with shardpack.ShardWriter(tmp_path / "ds", classes=["cat"]) as writer:
        for split in ("even", "odd", "train"):
            writer.write(f"{split}/a", {"jpg": make_jpeg(), "json": label}, split=split)
    back = again(shardpack.open(tmp_path / "ds"), tmp_path, "yolo")
    assert sorted(back.splits) == ["even", "odd", "train"]
    assert sorted(back.keys()) == ["even/a", "odd/a", "train/a"]


@pytest.mark.parametrize("to", ["parquet", "tfrecord", "mds"])
def test_keys_that_come_again_in_other_splits_come_back(tmp_path, to):
    pytest.importorskip({"parquet": "pyarrow"}.get(to, "numpy"))
    for split in SPLITS:
        folder = tmp_path / "out" / split
        with shardpack.ShardWriter(tmp_path / split) as writer:
            for number in range(3):
                writer.write(f"k{number}", sample(number))
        shardpack.export(shardpack.open(tmp_path / split), folder, to=to, jobs=1)
        if to != "mds":
            for file in folder.rglob(f"train-*.{to}"):
                file.rename(file.with_name(file.name.replace("train", split)))
    shardpack.pack(tmp_path / "out", tmp_path / "again", jobs=1)
    assert sorted(shardpack.open(tmp_path / "again").keys()) == [
        f"{one}/k{n}" for one in sorted(SPLITS) for n in range(3)
    ]


@pytest.mark.parametrize("to", ["parquet", "tfrecord", "mds", "lmdb", "hdf5"])
def test_a_key_and_the_same_behind_its_split_come_back_as_two(tmp_path, to):
    pytest.importorskip({"parquet": "pyarrow", "hdf5": "h5py", "lmdb": "lmdb"}.get(to, "numpy"))
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for key, split in (("a", "train"), ("train/a", "train"), ("b", "val")):
            writer.write(key, sample(len(key)), split=split)
    back = again(shardpack.open(tmp_path / "ds"), tmp_path, to)
    assert sorted(back.keys()) == ["train/a", "train/train/a", "val/b"]
    assert back["train/train/a"]["jpg"] == sample(7)["jpg"]


@pytest.mark.parametrize("to", ["folder", "tfrecord", "parquet", "mds", "hdf5"])
def test_labels_of_the_shape_come_back_and_follow_their_image(tmp_path, to):
    pytest.importorskip({"parquet": "pyarrow", "hdf5": "h5py"}.get(to, "numpy"))
    runs = {"size": [24, 32], "counts": [24 * 16, 24 * 16]}
    polygon = {"bbox": [4, 4, 8, 8], "segmentation": [[4, 4, 12, 4, 12, 12, 4, 12]], "class": "cat"}
    labels = [
        {"width": 32, "height": 24, "captions": ["one", "two"], "annotations": [polygon, {"bbox": [0, 0, 32, 24]}]},
        {"width": 32, "height": 24, "captions": ["a", "b"], "annotations": [{"segmentation": runs, "area": 384}]},
        {"width": 32, "height": 24, "captions": ["c", "d"], "annotations": []},
    ]
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for number, label in enumerate(labels):
            writer.write(str(number), {"jpg": make_jpeg(32, 24, seed=number), "json": label})
    shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / to, to=to, jobs=1)
    for name, options in (("whole", {}), ("small", {"resize": "short=12"})):
        shardpack.pack(tmp_path / to, tmp_path / name, jobs=1, **options)
        shardpack.pack(tmp_path / "ds", tmp_path / f"{name}-ds", jobs=1, **options)
        found = [one.decode("json") for one in shardpack.open(tmp_path / name)]
        assert found == [one.decode("json") for one in shardpack.open(tmp_path / f"{name}-ds")]
    assert found[0]["annotations"][0]["bbox"] == [2, 2, 4, 4]


def test_any_json_comes_back_from_hdf5(tmp_path):
    pytest.importorskip("h5py")
    labels = [{"a": 1, "b": [1, {"c": None}], "d": {"x": "y"}}, {"a": "one", "b": [], "e": True}]
    with shardpack.ShardWriter(tmp_path / "ds") as writer:
        for number, label in enumerate(labels):
            writer.write(str(number), {"jpg": make_jpeg(), "json": label})
    back = again(shardpack.open(tmp_path / "ds"), tmp_path, "hdf5")
    assert [one.decode("json") for one in back] == labels


def test_webdataset(ds, tmp_path):
    shardpack.export(ds, tmp_path / "tars", to="webdataset", max_file_samples=2, jobs=1)
    shardpack.index(tmp_path / "tars")
    back = shardpack.open(tmp_path / "tars")
    assert sorted((one.key, dict(one)) for one in back) == sorted((one.key, dict(one)) for one in ds)


def test_folders_of_classes(ds, tmp_path):
    shardpack.export(ds, tmp_path / "folder", to="folder", jobs=1)
    for split in SPLITS:
        (tmp_path / "folder" / split / "metadata.csv").unlink()
    shardpack.pack(tmp_path / "folder", tmp_path / "again", jobs=1)
    back = shardpack.open(tmp_path / "again")
    assert (back.classes, dict(back.splits)) == (CLASSES, SPLITS)
    images = {one["jpg"]: one.decode("json")["class"] for one in back}
    assert images == {one["jpg"]: one.decode("json")["class"] for one in ds}


def test_a_table_beside_images(ds, tmp_path):
    back = again(ds.split("train"), tmp_path, "folder", flat=True)
    values = {one["jpg"]: one.decode("json") for one in back}
    for one in ds.split("train"):
        found = values[one["jpg"]]
        assert (found["caption"], found["score"]) == (one.decode("json")["caption"], one.decode("json")["score"])
        assert json.loads(found["points"]) == one.decode("json")["points"]


def test_npz_pixel_for_pixel(ds, tmp_path):
    shardpack.export(ds, tmp_path / "npz", to="npz", drop=["points"], jobs=1)
    shardpack.pack(tmp_path / "npz", tmp_path / "again", raw="png", jobs=1)
    back = shardpack.open(tmp_path / "again")
    assert dict(back.splits) == SPLITS
    for split in SPLITS:
        for one, other in zip(back.split(split), ds.split(split), strict=True):
            assert np.array_equal(np.asarray(one.decode("png")), np.asarray(other.decode("jpg")))
            expected = {name: value for name, value in other.decode("json").items() if name != "points"}
            assert one.decode("json") == expected
