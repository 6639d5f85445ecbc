"""Ultralytics reads our YOLO: as many objects of each image, of the same classes, at the same places."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from tests.heavy.needs import heavy, marks, without_kernels
from tests.photographs import NUM_POINTS

without_kernels()
utils = heavy("ultralytics.data.utils", "ultralytics")
pytestmark = marks
LOST = ["captions", "class", "crowd", "label", "score", "sharp", "tags"]
HELD = {
    "detect": lambda one: not one["iscrowd"],
    "segment": lambda one: isinstance(one.get("segmentation"), list),
    "pose": lambda one: "keypoints" in one,
}


@pytest.mark.parametrize("task", HELD)
def test_its_own_check_of_labels(photographs, tmp_path, task):
    labels = {}
    with shardpack.ShardWriter(tmp_path / "ds", classes=photographs.classes) as writer:
        for split in photographs.splits:
            for one in photographs.split(split):
                label = labels[f"{split}/{one.key}"] = one.decode("json")
                label["annotations"] = [each for each in label["annotations"] if HELD[task](each)]
                writer.write(one.key, {"jpg": one["jpg"], "json": label}, split=split)
    shardpack.export(shardpack.open(tmp_path / "ds"), tmp_path / "out", to="yolo", task=task, drop=LOST, jobs=1)
    described = utils.check_det_dataset(str(tmp_path / "out" / "data.yaml"), autodownload=False)
    assert tuple(described["names"].values()) == photographs.classes
    assert described.get("kpt_shape") == ([NUM_POINTS, 3] if task == "pose" else None)
    for key, label in labels.items():
        image = tmp_path / "out" / "images" / f"{key}.jpg"
        [text] = utils.img2label_paths([str(image)])
        has_points, count = task == "pose", len(photographs.classes)
        points = NUM_POINTS if has_points else 0
        found = utils.verify_image_label((str(image), text, "", has_points, count, points, 3, False))
        _, boxes, shape, segments, keypoints, missing, _, _, corrupt, message = found
        width, height = label["width"], label["height"]
        assert (shape, missing, corrupt, message) == ((height, width), 0, 0, "")
        annotations = label["annotations"]
        assert boxes[:, 0].tolist() == [each["label"] for each in annotations]
        if task == "detect":
            x, y, w, h = (boxes[:, 1:] * [width, height, width, height]).T
            corners = np.stack([x - w / 2, y - h / 2, w, h], axis=1)
            assert corners == pytest.approx(np.reshape([each["bbox"] for each in annotations], (-1, 4)), abs=1e-3)
        elif task == "segment":
            for outline, each in zip(segments, annotations, strict=True):
                corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in each["segmentation"]])
                assert (outline * [width, height]).max(axis=0) == pytest.approx(corners.max(axis=0), abs=1e-3)
                assert (outline * [width, height]).min(axis=0) == pytest.approx(corners.min(axis=0), abs=1e-3)
        else:
            wanted = np.reshape([each["keypoints"] for each in annotations], (-1, NUM_POINTS, 3))
            assert keypoints * [width, height, 1] == pytest.approx(wanted, abs=1e-3)
