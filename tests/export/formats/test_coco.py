"""COCO: what the files say, and that they say all of it."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import DuplicateKeyError, ExportError, OptionError
from tests.export.boxes import CLASSES, SAMPLES, box, dataset, labelled
from tests.export.datasets import files


def export(folder, samples, **options):
    ds = dataset(folder / "ds", samples, **options.pop("of_dataset", {}))
    report = shardpack.export(ds, folder / "out", to="coco", jobs=1, **options)
    written = files(folder / "out")
    return report, {name: json.loads(data) for name, data in written.items() if name.endswith("json")}, written


def test_images_and_boxes_of_each_split(tmp_path):
    _, found, written = export(tmp_path, SAMPLES, of_dataset={"split": lambda key: key.partition("/")[0]})
    assert {name: data for name, data in written.items() if name.endswith("jpg")} == {
        f"images/{key}.jpg": fields["jpg"] for key, fields in SAMPLES.items()
    }
    categories = [{"id": 7, "name": "cat"}, {"id": 17, "name": "dog"}, {"id": 3, "name": "bird"}]
    assert found == {
        "annotations/instances_train.json": {
            "images": [
                {"id": 1, "file_name": "a.jpg", "width": 32, "height": 24},
                {"id": 2, "file_name": "b.jpg", "width": 40, "height": 50},
            ],
            "annotations": [
                {"id": 1, "image_id": 1, "bbox": [1, 2, 10, 12], "category_id": 7, "area": 120, "iscrowd": 0},
                {"id": 2, "image_id": 1, "bbox": [0, 0, 32, 24], "category_id": 17, "area": 768, "iscrowd": 0},
                {
                    "id": 3,
                    "image_id": 2,
                    "bbox": [0.5, 0.25, 3.125, 40.0],
                    "category_id": 17,
                    "area": 125,
                    "iscrowd": 0,
                },
            ],
            "categories": sorted(categories, key=lambda category: category["id"]),
        },
        "annotations/instances_val.json": {
            "images": [{"id": 1, "file_name": "c.jpg", "width": 32, "height": 24}],
            "annotations": [],
            "categories": sorted(categories, key=lambda category: category["id"]),
        },
    }


def test_ids_of_the_source_are_kept_if_all_have_one(tmp_path):
    samples = {"a": labelled(id=9, annotations=[box(0, 0, 0, 1, 1, id=5)]), "b": labelled(id=3)}
    _, found, _ = export(tmp_path / "all", samples)
    file = found["annotations/instances_default.json"]
    assert [image["id"] for image in file["images"]] == [9, 3]
    assert (file["annotations"][0]["id"], file["annotations"][0]["image_id"]) == (5, 9)
    for number, other in enumerate(({}, {"id": 9}, {"id": "3"})):
        _, found, _ = export(tmp_path / str(number), {**samples, "b": labelled(**other)})
        assert [image["id"] for image in found["annotations/instances_default.json"]["images"]] == [1, 2]


def test_what_else_a_label_says_is_kept(tmp_path):
    sample = labelled(32, 24, [box(0, 0, 0, 1, 1, score=0.5)], label=1, **{"class": "dog"}, licence="x")
    _, found, _ = export(tmp_path, {"a": sample})
    [image] = found["annotations/instances_default.json"]["images"]
    assert image == {
        "id": 1,
        "file_name": "a.jpg",
        "width": 32,
        "height": 24,
        "label": 1,
        "class": "dog",
        "licence": "x",
    }
    assert found["annotations/instances_default.json"]["annotations"][0]["score"] == 0.5


def test_captions_and_key_points(tmp_path):
    sample = labelled(annotations=[box(0, 0, 0, 5, 5, keypoints=[1, 1, 2], num_keypoints=1)], captions=["one", "two"])
    _, found, _ = export(tmp_path, {"a": sample, "b": labelled()})
    assert sorted(found) == ["annotations/captions_default.json", "annotations/person_keypoints_default.json"]
    assert found["annotations/captions_default.json"]["annotations"] == [
        {"id": 1, "image_id": 1, "caption": "one"},
        {"id": 2, "image_id": 1, "caption": "two"},
    ]
    [annotation] = found["annotations/person_keypoints_default.json"]["annotations"]
    assert annotation["keypoints"] == [1, 1, 2]


def test_numbers_that_stand_for_two_classes_are_replaced(tmp_path):
    samples = {
        "a": labelled(annotations=[{**box(0, 0, 0, 1, 1), "category_id": 7}, {**box(1, 0, 0, 1, 1), "category_id": 7}])
    }
    _, found, _ = export(tmp_path, samples)
    file = found["annotations/instances_default.json"]
    assert [one["category_id"] for one in file["annotations"]] == [1, 2]
    assert file["categories"] == [{"id": number + 1, "name": name} for number, name in enumerate(CLASSES)]


def test_a_set_without_class_names(tmp_path):
    samples = {
        "a": labelled(annotations=[{"bbox": [0, 0, 1, 1], "category_id": 4}, {"bbox": [0, 0, 1, 1], "category_id": 2}])
    }
    _, found, _ = export(tmp_path, samples, of_dataset={"classes": None})
    assert found["annotations/instances_default.json"]["categories"] == [{"id": 2, "name": "2"}, {"id": 4, "name": "4"}]


def test_the_same_bytes_for_any_jobs(tmp_path):
    ds = dataset(tmp_path / "ds", SAMPLES)
    for jobs in (1, 2):
        shardpack.export(ds, tmp_path / str(jobs), to="coco", jobs=jobs)
    assert files(tmp_path / "1") == files(tmp_path / "2")


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"annotations": [{"bbox": [0, 0, 1, 1]}]}, "neither a label nor a category_id"),
        ({"annotations": [{"bbox": [0, 0, 1], "label": 0}]}, "expected .x, y, w, h"),
        ({"annotations": {}}, "not a list of objects"),
        ({"captions": "one"}, "captions are not a list"),
        ({"width": 5, "height": 5}, "for 5 x 5 pixels"),
    ],
)
def test_a_label_that_does_not_fit_is_named_or_skipped(tmp_path, label, message):
    samples = {"a": {**labelled(), "json": label}, "b": labelled()}
    ds = dataset(tmp_path / "ds", samples)
    with pytest.raises(ExportError, match=rf"{message}.*key='a'"):
        shardpack.export(ds, tmp_path / "out", to="coco")
    assert shardpack.export(ds, tmp_path / "two", to="coco", on_error="skip").num_samples == 1


def test_what_coco_cannot_hold_is_a_question(tmp_path):
    ds = dataset(tmp_path / "ds", {"a": {**labelled(file_name="x"), "seg.png": b"1"}})
    with pytest.raises(OptionError, match=r"coco cannot hold seg.png"):
        shardpack.export(ds, tmp_path / "out", to="coco")
    with pytest.raises(OptionError, match=r"--drop file_name"):
        shardpack.export(ds, tmp_path / "out", to="coco", fields=["jpg", "json"])
    with pytest.raises(OptionError, match=r"do not apply to coco"):
        shardpack.export(ds, tmp_path / "out", to="coco", fields=["jpg"], max_file_samples=1)


def test_packing_it_again_gives_boxes_captions_and_splits_back(tmp_path):
    samples = {key: {**fields, "json": {**fields["json"], "captions": [key]}} for key, fields in SAMPLES.items()}
    export(tmp_path, samples, of_dataset={"split": lambda key: key.partition("/")[0]})
    shardpack.pack(tmp_path / "out", tmp_path / "again", jobs=1)
    again = shardpack.open(tmp_path / "again")
    assert dict(again.splits) == {"train": 2, "val": 1}
    assert set(again.classes) == set(CLASSES)
    back = {one.decode("json")["captions"][0]: one for one in again}
    assert back.keys() == samples.keys()
    for key, one in samples.items():
        assert back[key]["jpg"] == one["jpg"]
        label = back[key].decode("json")
        boxes = [(box["class"], box["category_id"], box["bbox"]) for box in label["annotations"]]
        assert boxes == [(box["class"], box["category_id"], box["bbox"]) for box in one["json"]["annotations"]]


def test_two_samples_that_would_be_one_file_are_refused(tmp_path):
    samples = {key: labelled(annotations=[box(0, 0, 0, 5, 5)]) for key in ("train/a", "a")}
    with pytest.raises(DuplicateKeyError, match=r"the samples .train/a. and .a. would both be .train/a."):
        export(tmp_path, samples, of_dataset={"split": lambda _: "train"})
