"""Sets of YOLO in their usual trees: boxes in pixels, splits, and every bad label file named."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from shardpack.errors import SourceError
from shardpack.runtime.processes import start_workers
from shardpack.sources.layouts.yolo import Yolo
from tests.sources.layouts.labelled import JPEG, Labelled, images_in
from tests.sources.trees import write_tree

YAML = "names: [cat, dog]\n"
LINE = "1 0.5 0.5 0.2 0.1\n"
BOX = {"bbox": [80, 45, 40, 10], "category_id": 1, "label": 1, "class": "dog"}


def test_the_usual_tree(tmp_path):
    images_in(tmp_path, "images/train/a.jpg", "images/train/deep/b.jpg", "images/val/c.JPG")
    more = {"data.yaml": YAML + "train: images/train\nval: images/val\n", "README.md": "x", "labels/train/z.txt": ""}
    write_tree(tmp_path, {"labels/train/a.txt": LINE, "labels/train/deep/b.txt": "", **more})
    write_tree(tmp_path, {"labels/val/c.txt": LINE * 2})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "yolo"
    assert (set_.found.title, set_.found.label) == ("YOLO", "boxes")
    assert set_.found.uses == {f"labels/{n}.txt" for n in ("train/a", "train/deep/b", "train/z", "val/c")} | {
        "data.yaml"
    }
    size = {"width": 200, "height": 100}
    assert set_.labels == {
        "train/a": {**size, "annotations": [BOX]},
        "train/deep/b": {**size, "annotations": []},
        "val/c": {**size, "annotations": [BOX, BOX]},
    }
    assert set_.splits == {"train/a": "train", "train/deep/b": "train", "val/c": "val"}
    assert set_.fields["val/c"] == {"jpg": "images/val/c.JPG"}
    assert set_.listing.classes == ("cat", "dog")
    assert set_.listing.label_shape == "annotations"
    assert not set_.rejected


def test_the_tree_of_roboflow(tmp_path):
    images_in(tmp_path, "train/images/a.jpg", "valid/images/b.jpg", "test/images/c.jpg")
    yaml = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    write_tree(tmp_path, {"data.yaml": yaml, "train/labels/a.txt": LINE, "valid/labels/b.txt": LINE})
    set_ = Labelled(tmp_path)
    assert set_.splits == {"train/a": "train", "valid/b": "val", "test/c": "test"}
    assert set_.labels["test/c"] == {"width": 200, "height": 100}  # a folder without labels says nothing
    assert set_.found.title == "YOLO (data.yaml: train: '../train/images' is 'train/images' here, and 2 more)"
    assert dict(set_.problems.noted) == {"images in folders without label files, packed without annotations": 1}


@pytest.mark.parametrize("name", ["classes.txt", "obj.names", "data.yaml"])
def test_label_files_beside_images(tmp_path, name):
    images_in(tmp_path, "a.jpg", "b.jpg")
    write_tree(tmp_path, {"a.txt": LINE, name: YAML if name == "data.yaml" else "cat\ndog\n"})
    set_ = Labelled(tmp_path)
    assert set_.labels["a"]["annotations"] == [BOX]
    assert set_.labels["b"]["annotations"] == []
    assert dict(set_.problems.noted) == {"images without a label file, packed without boxes": 1}
    assert set_.splits == {"a": None, "b": None}


def test_without_a_list_of_classes(tmp_path):
    images_in(tmp_path, "images/a.jpg")
    write_tree(tmp_path, {"labels/a.txt": "5 0.1 0.1 0.5 0.1 0.5 0.5\n"})
    set_ = Labelled(tmp_path)
    (found,) = set_.labels["a"]["annotations"]
    assert (found["category_id"], found["label"]) == (5, 5)
    assert "class" not in found
    assert set_.found.label == "polygons"
    assert set_.listing.classes is None


def test_classes_with_gaps_are_numbered_from_0(tmp_path):
    images_in(tmp_path, "images/a.jpg")
    write_tree(tmp_path, {"labels/a.txt": LINE.replace("1", "7", 1), "data.yaml": "names: {3: cat, 7: dog}"})
    assert Labelled(tmp_path).labels["a"]["annotations"] == [{**BOX, "category_id": 7, "label": 1}]


def test_lists_of_images_are_splits(tmp_path):
    images_in(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    lists = {"train.txt": "./images/a.jpg\n/elsewhere/x.jpg\n", "val.txt": "images/b.jpg\n../images/c.jpg\n"}
    write_tree(tmp_path, {"labels/a.txt": LINE, "data.yaml": YAML + "train: train.txt\nval: val.txt\n", **lists})
    set_ = Labelled(tmp_path)
    assert set_.splits == {"a": "train", "b": "val", "c": None}
    assert {"train.txt", "val.txt"} <= set_.found.uses
    assert set_.problems.noted["lines in lists of images that are no path of an image here"] == 2


def test_key_points(tmp_path):
    images_in(tmp_path, "images/a.jpg")
    yaml = "names: [cat, dog]\nkpt_shape: [1, 3]"
    write_tree(tmp_path, {"labels/a.txt": LINE.strip() + " 0.5 0.5 2", "data.yaml": yaml})
    set_ = Labelled(tmp_path)
    assert set_.found.label == "key points"
    assert set_.labels["a"]["annotations"] == [{**BOX, "keypoints": [100, 50, 2], "num_keypoints": 1}]


def test_bad_label_files_are_rejected_by_name_and_line(tmp_path):
    images_in(tmp_path, *(f"images/{name}.jpg" for name in "abcdefg"))
    turned = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 10)).save(turned, "JPEG", exif=exif)
    write_tree(tmp_path, {"images/d.jpg": turned.getvalue(), "images/e.jpg": b"\xff\xd8 no", "images/f.jpg": b""})
    bad = {"b": LINE + "2 0.5 0.5 0.2 0.1", "c": "0 320 240 1 1", "d": LINE, "e": LINE, "f": LINE, "g": "\xff"}
    labels = {f"labels/{name}.txt": text.encode("latin-1") for name, text in {"a": LINE, **bad}.items()}
    write_tree(tmp_path, {**labels, "data.yaml": YAML})
    set_ = Labelled(tmp_path)
    assert list(set_.labels) == ["a"]
    reasons = {name: set_.rejected.pop(f"images/{name}.jpg") for name in bad}
    assert not set_.rejected
    assert reasons["b"] == "labels/b.txt: line 2: class 2 is not among the 2 of the set; correct the line or the list"
    assert reasons["c"].startswith("labels/c.txt: line 1: 320 is outside 0..1")
    assert "EXIF orientation 6" in reasons["d"]
    assert reasons["e"].startswith("images/e.jpg: damaged JPEG")
    assert reasons["f"].startswith("the file 'images/f.jpg' is empty")
    assert reasons["g"].startswith("labels/g.txt: not text at byte 0")


def test_other_folders_are_not_yolo(tmp_path):
    images_in(tmp_path, "images/a.jpg", "images/b.jpg")
    write_tree(tmp_path, {"labels/a.txt": "Car 0.00 0 -1.58 587.01 173.33"})  # KITTI
    assert Labelled(tmp_path / "images", "files").found.layout == "files"
    set_ = Labelled(tmp_path, "classes")
    assert set_.found.layout == "classes"
    with pytest.raises(SourceError, match="no label files of YOLO in"):
        Labelled(tmp_path / "images", "yolo")
    write_tree(tmp_path, {"images/a.txt": "a caption"})
    assert Labelled(tmp_path / "images").found.layout == "files"


def test_workers_make_the_same(tmp_path):
    names = [f"{number:03d}" for number in range(30)]
    images_in(tmp_path, *(f"images/{name}.jpg" for name in names))
    write_tree(tmp_path, {f"labels/{name}.txt": LINE for name in names[::2]})
    alone, seen = Labelled(tmp_path), []
    with start_workers(2) as engine:
        set_ = Labelled(tmp_path, engine=engine, progress=seen.append)
    assert set_.labels == alone.labels
    assert seen[-1] == 30


def test_reads_little_of_large_images(tmp_path, monkeypatch):
    write_tree(tmp_path, {"images/a.jpg": JPEG + bytes(5 << 20), "labels/a.txt": LINE})
    asked = []
    from shardpack.sources import label_files

    real = label_files.read_payload

    def counting(listing, member, num_bytes=None):
        asked.append(num_bytes)
        return real(listing, member, num_bytes)

    monkeypatch.setattr(label_files, "read_payload", counting)
    assert Labelled(tmp_path).labels["a"]["width"] == 200
    assert asked == [16 << 10, None]


def test_its_name():
    assert Yolo.name == "yolo"


def test_a_folder_in_another_one_has_its_own_split(tmp_path):
    images_in(tmp_path, "images/a.jpg", "images/held/b.jpg")
    write_tree(tmp_path, {"labels/a.txt": LINE, "data.yaml": YAML + "train: images\nval: images/held\n"})
    assert Labelled(tmp_path).splits == {"a": "train", "held/b": "val"}


@pytest.mark.parametrize(
    ("lists", "first", "second"),
    [
        ({"train/classes.txt": "cat\ndog", "val/classes.txt": "dog\ncat"}, "train/classes.txt", "val/classes.txt"),
        ({"data.yaml": "names: [dog, cat]", "val/obj.names": "cat\ndog\n"}, "data.yaml", "val/obj.names"),
        ({"data.yaml": "nc: 2", "classes.txt": "a\nb", "val/_darknet.labels": "a\nc"}, "classes.txt", "val/_darknet"),
    ],
)
def test_lists_of_classes_that_contradict_each_other_are_refused(tmp_path, lists, first, second):
    images_in(tmp_path, "train/1.jpg", "val/2.jpg")
    write_tree(tmp_path, {"train/1.txt": LINE, "val/2.txt": LINE, **lists})
    with pytest.raises(
        SourceError, match=f"^{first} and {second}.* number the classes differently; .*--ignore {second}"
    ):
        Labelled(tmp_path)


@pytest.mark.parametrize(
    "lists", [{"data.yaml": "train: a/images", "classes.txt": "cat\ndog"}, {"a/classes.txt": "\ufeffcat\ndog\n"}]
)
def test_a_list_of_classes_gives_the_names_that_nothing_else_says(tmp_path, lists):
    images_in(tmp_path, "a/images/1.jpg")
    write_tree(tmp_path, {"a/labels/1.txt": LINE, **{name: text.encode() for name, text in lists.items()}})
    set_ = Labelled(tmp_path)
    assert set_.listing.classes == ("cat", "dog")
    assert set_.labels["a/1"]["annotations"] == [BOX]


def test_a_name_twice_in_a_list_of_classes_is_refused(tmp_path):
    images_in(tmp_path, "1.jpg")
    write_tree(tmp_path, {"1.txt": LINE, "classes.txt": "cat\ncat\n"})
    with pytest.raises(SourceError, match=r"^classes.txt: two classes are called 'cat'; rename one"):
        Labelled(tmp_path)


def test_label_files_without_an_image_are_rejected(tmp_path):
    images_in(tmp_path, "images/train/1.jpg")
    write_tree(tmp_path, {f"labels/train/{stem}.txt": LINE for stem in ("1", "2", "deep.3")})
    lists = {"labels/train/train.txt": "x", "labels/train/listed.txt": "../../images/train/1.jpg\n"}
    write_tree(tmp_path, {**lists, "labels/train/classes.txt": "cat\ndog", "labels/train/empty.txt": ""})
    write_tree(tmp_path, {"data.yaml": YAML + "train: labels/train/listed.txt\n"})
    set_ = Labelled(tmp_path)
    reason = "labels an image that is not here; restore it, or remove this file"
    assert set_.rejected == {"labels/train/2.txt": reason, "labels/train/deep.3.txt": reason}


def test_lists_of_another_machine(tmp_path):
    images_in(tmp_path, "images/a.jpg", "images/b.jpg", "images/c.jpg")
    lists = {"train.txt": "/kaggle/x/images/a.jpg\n\n", "val.txt": "C:\\x\\images\\b.jpg\n", "test.txt": "/x/d.jpg\n"}
    yaml = YAML + "train: train.txt\nval: val.txt\ntest: test.txt\n"
    write_tree(tmp_path, {"labels/a.txt": LINE, "data.yaml": yaml, **lists})
    set_ = Labelled(tmp_path)
    assert set_.splits == {"a": "train", "b": "val", "c": None}
    reason = "none of its lines is the path of an image here, such as '/x/d.jpg'; correct the list"
    assert set_.rejected == {"test.txt": reason}


@pytest.mark.parametrize(
    ("yaml", "reason"),
    [
        (
            "train: train.txt\nval: val.txt",
            "^images/a.jpg is in both train.txt and val.txt; leave it in one of the two",
        ),
        ("train: images\nval: images", "^data.yaml: 'images' is both train and val; leave it in one"),
        ("train: .\nval: .", r"^data.yaml: '\.' is both train and val; leave it in one"),
    ],
)
def test_two_splits_for_one_image_or_folder_are_refused(tmp_path, yaml, reason):
    images_in(tmp_path, "images/a.jpg", "images/b.jpg")
    lists = {"train.txt": "images/a.jpg\n", "val.txt": "images/b.jpg\nimages/a.jpg\n"}
    write_tree(tmp_path, {"labels/a.txt": LINE, "data.yaml": YAML + yaml, **lists})
    with pytest.raises(SourceError, match=reason):
        Labelled(tmp_path)


def test_folders_called_like_splits(tmp_path):
    images_in(tmp_path, "images/training/1.jpg", "images/validation/2.jpg", "images/more/3.jpg")
    write_tree(tmp_path, {"labels/training/1.txt": LINE})
    splits = {"training/1": "training", "validation/2": "validation", "more/3": None}
    assert Labelled(tmp_path).splits == splits
