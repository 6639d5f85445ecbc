"""Names and splits of data.yaml; what leads outside of the source is never followed."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from shardpack.sources.layouts.data_yaml import DataYaml, find_class_list, find_data_yaml
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import write_tree

TREE = ["images/train/a.jpg", "images/val/b.jpg", "test/images/c.jpg"]


def found(folder, text, *, name="data.yaml", more=()):
    write_tree(folder, TREE)
    write_tree(folder, {name: text, **dict(more)})
    return find_data_yaml(Tree(scan(folder, Problems())))


@pytest.mark.parametrize("names", ["names: [cat, dog]", "names:\n  0: cat\n  1: dog", "names:\n- cat\n- 'dog'\nnc: 2"])
def test_names(tmp_path, names):
    data = found(tmp_path, f"train: images/train\nval: [images/val]\ntest:\n{names}\nkpt_shape: [17, 3]")
    folders = {"train": ("images/train",), "val": ("images/val",)}
    assert data == DataYaml("data.yaml", {0: "cat", 1: "dog"}, (17, 3), folders)


@pytest.mark.parametrize(
    ("text", "place", "note"),
    [
        ("path: images\ntrain: train", "images/train", ""),
        ("path: .\ntrain: ./images/train/", "images/train", ""),
        ("train: images", "images", ""),
        ("train: .", "", ""),
        ("train: list.txt", "list.txt", ""),
        ("train: ../test/images", "test/images", "train: '../test/images' is 'test/images' here"),
        ("train: ../test", "test", "train: '../test' is 'test' here"),
        (
            "path: /home/me/coco\ntrain: images/train",
            "images/train",
            "train: '/home/me/coco/images/train' is 'images/train' here",
        ),
        ("train: C:\\sets\\images\\train", "images/train", r"train: 'C:\\sets\\images\\train' is 'images/train' here"),
    ],
)
def test_where_paths_lead(tmp_path, text, place, note):
    data = found(tmp_path, text, more={"list.txt": "x"})
    assert data.folders == {"train": (place,)}
    assert data.note == note


def test_a_split_that_is_not_here_is_said(tmp_path):
    data = found(tmp_path, "train: images/train\ntest: [../elsewhere/images, images/val]")
    assert data.folders == {"train": ("images/train",), "test": ("images/val",)}
    assert data.note == "test: '../elsewhere/images' is not here"


def test_other_names_of_the_file(tmp_path):
    assert found(tmp_path, "names: [a]", name="coco8.yaml").name == "coco8.yaml"
    assert found(tmp_path, "- not: a set", name="ci.yml").name == "coco8.yaml"
    (tmp_path / "coco8.yaml").unlink()
    assert found(tmp_path, "- not: a set", name="ci.yml") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("names: &x", r"data.yaml: line 1: a scalar cannot begin"),
        ("names: cat", "names is neither a list of names nor a map"),
        ("names: {cat: 0}", "names has the class 'cat', expected a number from 0 to 99,999"),
        ("names: [cat, cat]", "two classes are called 'cat'"),
        ("names: [cat]\nnc: 2", "nc is 2, but names has 1 classes"),
        ("kpt_shape: 17", "kpt_shape is '17', expected"),
        ("kpt_shape: [17, 4]", r"kpt_shape is \['17', '4'\], expected"),
        ("kpt_shape: [100000000, 3]", "kpt_shape is"),
        ("train: {a: b}", "train is {'a': 'b'}, expected a path"),
        ("train: ../../etc", "'../../etc' is not a folder with images or a list of images below the source"),
        ("train: /etc/passwd.txt", "'/etc/passwd.txt' is not a folder"),
        ("train: nowhere", "train: 'nowhere' is not a folder"),
    ],
)
def test_what_is_of_no_use_is_refused(tmp_path, text, reason):
    with pytest.raises(SourceError, match=reason):
        found(tmp_path, text)


def test_class_lists(tmp_path):
    write_tree(tmp_path, TREE)
    write_tree(tmp_path, {"test/labels/classes.txt": "cat\ndog \n\n"})
    tree = Tree(scan(tmp_path, Problems()))
    assert find_class_list(tree, ["test/images"]) is None
    assert find_class_list(tree, ["test/labels"]) == DataYaml("test/labels/classes.txt", {0: "cat", 1: "dog"})


def test_splits_of_any_name_as_an_export_writes_them(tmp_path):
    write_tree(tmp_path, ["images/odd/a.jpg"])
    data = found(tmp_path, "odd: images/odd\neven: images/even\nname: images/train\ntrain: images/train\nnames: [cat]")
    assert data.folders == {"train": ("images/train",), "odd": ("images/odd",)}
