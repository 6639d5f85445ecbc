"""LabelMe's files find their image by stem or by name, below the root alone."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import SourceError
from shardpack.sources.tree import Tree
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree


def file_of(image, *names):
    shapes = [{"label": name, "shape_type": "rectangle", "points": [[1, 2], [5, 6]]} for name in names]
    content = {"imagePath": image, "imageData": None, "imageWidth": 200, "imageHeight": 100, "shapes": shapes}
    return json.dumps(content)


def label(*classes):
    annotations = [{"bbox": [1, 2, 4, 4], "label": number, "class": name} for number, name in classes]
    return {"width": 200, "height": 100, "annotations": annotations}


@pytest.mark.parametrize(
    ("image", "label_file", "path", "key"),
    [
        ("a.jpg", "a.json", "a.jpg", "a"),
        ("a.jpg", "a.json", "old name.jpg", "a"),
        ("train/a.jpg", "train/a.json", "..\\train\\a.jpg", "train/a"),
        ("images/a.jpg", "annotations/a.json", "../images/a.jpg", "a"),
        ("images/val/a.jpg", "labels/val/a.json", "", "val/a"),
        ("photos/b.jpg", "json/a.json", "../photos/b.jpg", "photos/b"),
    ],
)
def test_files_find_their_image(tmp_path, image, label_file, path, key):
    images_in(tmp_path, image)
    write_tree(tmp_path, {label_file: file_of(path, "dog", "cat")})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "labelme"
    assert set_.found.uses == {label_file}
    assert set_.labels == {key: label((1, "dog"), (0, "cat"))}
    assert set_.listing.classes == ("cat", "dog")
    assert set_.fields == {key: {"jpg": image}}


def test_splits_and_images_without_labels(tmp_path):
    images_in(tmp_path, "train/a.jpg", "val/b.jpg")
    write_tree(tmp_path, {"train/a.json": file_of("a.jpg")})
    set_ = Labelled(tmp_path)
    assert set_.splits == {"train/a": "train", "val/b": "val"}
    assert set_.labels == {"train/a": label()}
    assert dict(set_.problems.noted) == {"images without a label file": 1}


def test_misfits_are_named(tmp_path):
    images_in(tmp_path, *(f"{name}.jpg" for name in "abcd"))
    bad = {"b.json": file_of("a.jpg", "x"), "c.json": file_of("c.jpg", ""), "e.json": file_of("../../etc/passwd.jpg")}
    write_tree(
        tmp_path, {"a.json": file_of("a.jpg"), **bad, "f.json": file_of("http://x/a.jpg"), "g.json": file_of("d.jpg")}
    )
    write_tree(tmp_path, {"h.json": file_of("d.jpg"), "i.json": '{"shapes": [], "imagePath": }'})
    set_ = Labelled(tmp_path)
    assert list(set_.labels) == ["a", "d"]
    reasons = set_.rejected
    assert reasons.pop("b.jpg") == "b.json names another image, 'a.jpg'; rename one of the files"
    assert reasons.pop("c.jpg").startswith("c.json: shapes[0] has no label")
    assert "'../../etc/passwd.jpg', which is not below the source" in reasons.pop("e.json")
    assert reasons.pop("h.json") == "describes the image that 'g.json' describes; keep one"
    assert reasons.pop("i.json").startswith("not JSON")
    assert reasons.pop("f.json", "describes").startswith("describes")
    assert not reasons


def test_other_files_are_not_labelme(tmp_path):
    images_in(tmp_path, "a.jpg")
    write_tree(tmp_path, {"a.json": '{"label": 3}'})
    assert Labelled(tmp_path).found.layout == "files"
    with pytest.raises(SourceError, match="no JSON files of LabelMe in"):
        Labelled(tmp_path, "labelme")


def test_few_files_are_opened_to_look(tmp_path, monkeypatch):
    folders = [f"{number:02d}" for number in range(40)]
    images_in(tmp_path, *(f"{folder}/{i}.jpg" for folder in folders for i in range(4)))
    write_tree(tmp_path, {f"{folder}/{i}.json": file_of(f"{i}.jpg") for folder in folders for i in range(4)})
    opened, real = [], Tree.read
    monkeypatch.setattr(Tree, "read", lambda tree, name, **more: opened.append(name) or real(tree, name, **more))
    set_ = Labelled(tmp_path)
    assert len(set_.labels) == 160
    assert len([name for name in opened if name.endswith(".json")]) < 70
