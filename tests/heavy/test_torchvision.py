"""torchvision reads our folders of classes and our COCO."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import shardpack
from tests.heavy.needs import heavy, marks, without_kernels

without_kernels()
vision = heavy("torchvision.datasets", "torchvision")
pytestmark = marks


def test_image_folder(photographs, tmp_path):
    shardpack.export(photographs, tmp_path / "out", to="folder", fields=["jpg", "json"], jobs=1)
    for split in photographs.splits:
        found = vision.ImageFolder(str(tmp_path / "out" / split), loader=lambda path: Path(path).read_bytes())
        expected = {one["jpg"]: one.decode("json")["class"] for one in photographs.split(split)}
        assert len(found) == len(expected)
        assert {image: found.classes[label] for image, label in found} == expected


def test_coco(photographs, tmp_path):
    shardpack.export(photographs, tmp_path / "out", to="coco", fields=["jpg", "json"], jobs=1)
    for split in photographs.splits:
        images, annotations = tmp_path / "out" / "images" / split, tmp_path / "out" / "annotations"
        boxes = vision.CocoDetection(str(images), str(annotations / f"person_keypoints_{split}.json"))
        captions = vision.CocoCaptions(str(images), str(annotations / f"captions_{split}.json"))
        for (image, found), (_, texts), one in zip(boxes, captions, photographs.split(split), strict=True):
            label = one.decode("json")
            assert np.array_equal(np.asarray(image), np.asarray(one.decode("jpg")))
            assert [each["bbox"] for each in found] == [each["bbox"] for each in label["annotations"]]
            assert texts == label["captions"]
