"""YOLO: images, label files and data.yaml; packing them again gives the boxes back."""

from __future__ import annotations

import io

import pytest
from PIL import Image

import shardpack
from shardpack.errors import DuplicateKeyError, ExportError, OptionError
from tests.export.boxes import CLASSES, SAMPLES, box, dataset, labelled
from tests.export.datasets import files

SPLITS = {"split": lambda key: key.partition("/")[0]}
POLYGON = [0, 0, 10, 0, 10, 10]


def export(folder, samples, *, of_dataset=None, **options):
    ds = dataset(folder / "ds", samples, **(of_dataset or {}))
    report = shardpack.export(ds, folder / "out", to="yolo", jobs=1, **options)
    return report, {
        name: data if name.endswith("jpg") else data.decode() for name, data in files(folder / "out").items()
    }


def test_images_labels_and_names(tmp_path):
    _, written = export(tmp_path, SAMPLES, of_dataset=SPLITS)
    assert written == {
        **{f"images/{key}.jpg": fields["jpg"] for key, fields in SAMPLES.items()},
        "labels/train/a.txt": "0 0.1875 0.3333333333 0.3125 0.5\n1 0.5 0.5 1 1\n",
        "labels/train/b.txt": "1 0.0515625 0.405 0.078125 0.8\n",
        "labels/val/c.txt": "",
        "data.yaml": 'train: images/train\nval: images/val\nnames:\n  0: "cat"\n  1: "dog"\n  2: "bird"\n',
    }


def test_packing_it_again_gives_the_boxes_back(tmp_path):
    export(tmp_path, SAMPLES, of_dataset=SPLITS)
    shardpack.pack(tmp_path / "out", tmp_path / "again", layout="yolo")
    again = shardpack.open(tmp_path / "again")
    assert (again.classes, dict(again.splits)) == (CLASSES, {"train": 2, "val": 1})
    for sample, (key, fields) in zip(again, SAMPLES.items(), strict=True):
        assert (sample.key, sample["jpg"]) == (key, fields["jpg"])
        boxes = [(one["class"], one["bbox"]) for one in sample.decode("json")["annotations"]]
        assert boxes == [(one["class"], one["bbox"]) for one in fields["json"]["annotations"]]


def test_without_splits_all_is_for_training(tmp_path):
    _, written = export(tmp_path, {"a/b": labelled(), "c": {"jpg": labelled()["jpg"]}})
    assert sorted(written) == ["data.yaml", "images/train/a/b.jpg", "images/train/c.jpg", "labels/train/a/b.txt"]
    assert "train: images/train\n" in written["data.yaml"]


def test_validation_is_called_val(tmp_path):
    _, written = export(tmp_path, {"a": labelled()}, of_dataset={"split": lambda _: "validation"})
    assert "val: images/validation\n" in written["data.yaml"]


def test_the_task_is_what_holds_all(tmp_path):
    both = box(0, 0, 0, 10, 10, segmentation=[POLYGON], keypoints=[1, 1, 2])
    _, segment = export(tmp_path / "s", {"a": labelled(annotations=[box(0, 0, 0, 10, 10, segmentation=[POLYGON])])})
    assert segment["labels/train/a.txt"] == "0 0 0 0.3125 0 0.3125 0.4166666667\n"
    _, pose = export(tmp_path / "p", {"a": labelled(annotations=[box(0, 0, 0, 10, 10, keypoints=[1, 1, 2])])})
    assert "kpt_shape: [1, 3]\n" in pose["data.yaml"]
    with pytest.raises(OptionError, match=r"of which yolo holds one.*--task"):
        export(tmp_path / "q", {"a": labelled(annotations=[both])})
    for task, count in (("detect", 5), ("segment", 7), ("pose", 8)):
        _, written = export(tmp_path / task, {"a": labelled(annotations=[both])}, task=task)
        assert len(written["labels/train/a.txt"].split()) == count
    with pytest.raises(OptionError, match="task is 'classify'; choose"):
        export(tmp_path / "w", {"a": labelled(annotations=[both])}, task="classify")


def test_what_the_lines_cannot_hold_is_a_question(tmp_path):
    sample = labelled(annotations=[box(0, 0, 0, 1, 1, score=0.5)], captions=["x"], id=3)
    message = r"captions, id, annotations.score of the labels; leave that out \(--drop captions,id,annotations.score\)"
    with pytest.raises(OptionError, match=message):
        export(tmp_path / "a", {"a": sample})
    export(tmp_path / "b", {"a": sample}, drop=["captions", "id", "annotations.score"])


def test_crowds_are_left_out_and_counted(tmp_path):
    samples = {"a": labelled(annotations=[box(0, 0, 0, 1, 1), box(0, 0, 0, 1, 1, iscrowd=1)])}
    with pytest.raises(ExportError, match=r"--drop crowd"):
        export(tmp_path / "a", samples)
    report, written = export(tmp_path / "b", samples, drop=["crowd"])
    assert report.left_out == {"crowd annotations": 1}
    assert written["labels/train/a.txt"].count("\n") == 1


def test_names_are_found_where_the_dataset_has_none(tmp_path):
    samples = {"a": labelled(annotations=[box(2, 0, 0, 1, 1), {"bbox": [0, 0, 1, 1], "label": 0}])}
    _, written = export(tmp_path, samples, of_dataset={"classes": None})
    assert written["data.yaml"].endswith('names:\n  0: "0"\n  1: "1"\n  2: "bird"\n')


def test_samples_that_do_not_fit(tmp_path):
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(turned, "JPEG", exif=exif)
    samples = {
        "turned": {**labelled(annotations=[box(0, 0, 0, 1, 1)]), "jpg": turned.getvalue()},
        "x/images/y": labelled(),
        "unnamed": labelled(annotations=[{"bbox": [0, 0, 1, 1]}]),
        "fine": labelled(),
        "turned-but-empty": {**labelled(), "jpg": turned.getvalue()},
    }
    report, _ = export(tmp_path, samples, on_error="skip")
    assert [(key, reason[:30]) for key, reason in report.rejected] == [
        ("turned", "the image has EXIF orientation"),
        ("x/images/y", "readers of yolo find labels by"),
        ("unnamed", "an annotation has no label; co"),
    ]


def test_images_without_boxes_belong_elsewhere(tmp_path, pets):
    with pytest.raises(OptionError, match="no label has annotations; for classes of images, export to folder"):
        shardpack.export(pets, tmp_path / "out", to="yolo")


def test_different_numbers_of_key_points(tmp_path):
    samples = {
        "a": labelled(annotations=[box(0, 0, 0, 1, 1, keypoints=[1, 1, 2])]),
        "b": labelled(annotations=[box(0, 0, 0, 1, 1, keypoints=[1, 1, 2] * 2)]),
    }
    with pytest.raises(ExportError, match="these have 1, 2"):
        export(tmp_path, samples)


def test_what_samples_become_is_said(tmp_path):
    said = []
    ds = dataset(tmp_path / "ds", {"a": labelled(annotations=[box(0, 0, 0, 1, 1)])})
    shardpack.export(ds, tmp_path / "out", to="yolo", drop=["crowd"], dry_run=True, announce=said.append)
    assert said == ["yolo: images, and boxes of 3 classes; crowds are left out"]


def test_two_names_of_one_label_are_refused(tmp_path):
    samples = {key: labelled(annotations=[box(0, 0, 0, 5, 5, **{"class": key})]) for key in ("cat", "dog")}
    with pytest.raises(ExportError, match="label 0 is called 'cat' and 'dog'"):
        export(tmp_path, samples)


def test_two_samples_that_would_be_one_file_are_refused(tmp_path):
    samples = {key: labelled(annotations=[box(0, 0, 0, 5, 5)]) for key in ("train/a", "a")}
    with pytest.raises(DuplicateKeyError, match=r"the samples .train/a. and .a. would both be .train/a."):
        export(tmp_path, samples, of_dataset={"split": lambda _: "train"})
