"""Every annotation reaches its image, from all files that describe it, and every bad record is named."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import samples_of, write_tree
from tests.strategies import examples

CATEGORIES = [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car"}]
CLASS = {3: {"label": 0, "class": "car"}, 18: {"label": 1, "class": "dog"}}


def image(number, name, **more):
    return {"id": number, "file_name": name, "width": 640, "height": 480, **more}


def coco(images, annotations=(), categories=CATEGORIES):
    return {"images": images, "annotations": list(annotations), "categories": categories}


def listed(folder, content=None, *, path="annotations.json", **options):
    if content is not None:
        write_tree(folder, {path: content if isinstance(content, str) else json.dumps(content)})
    return Labelled(folder, "coco", annotations=os.path.join(folder, path), **options)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("coco"), [f"{number}.jpg" for number in range(6)])


boxes = st.fixed_dictionaries(
    {"image_id": st.integers(0, 5), "category_id": st.sampled_from([3, 18]), "bbox": st.lists(st.floats(0, 99))},
    optional={"iscrowd": st.integers(0, 1), "segmentation": st.lists(st.lists(st.integers())), "note": st.text()},
)


@examples(50)
@given(st.permutations(range(6)), st.lists(boxes, max_size=8), st.permutations(["images", "annotations", "categories"]))
def test_every_annotation_lands_once_in_its_own_image(images, order, annotations, parts):
    content = coco([image(number, f"{number}.jpg") for number in order], annotations)
    set_ = listed(images, {"info": {"images": []}, **{part: content[part] for part in parts}})
    assert list(set_.labels) == [str(number) for number in range(6)]
    for number in range(6):
        label = set_.labels[str(number)]
        assert (label["id"], label["width"], label["height"]) == (number, 640, 480)
        expected = []
        for annotation in annotations:
            if annotation["image_id"] == number:
                expected.append({**CLASS[annotation["category_id"]], **annotation})
                del expected[-1]["image_id"]
        assert label.get("annotations", []) == expected
    assert set_.listing.classes == ("car", "dog")
    assert set_.listing.label_shape == "annotations"
    assert set_.listing.by_class is False
    assert not set_.rejected
    assert not set_.problems.left_out


def test_label_bytes(tmp_path):
    write_tree(tmp_path, ["val/é.jpg"])
    images = [image(7, "val/é.jpg", license=1)]
    boxes = [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2.5, 30, 40], "iscrowd": 0}]
    set_ = listed(tmp_path, coco(images, boxes))
    assert samples_of(set_.listing)["val/é"]["json"] == (
        b'{"id":7,"width":640,"height":480,"license":1,"annotations":'
        b'[{"label":1,"class":"dog","id":1,"category_id":18,"bbox":[1,2.5,30,40],"iscrowd":0}]}'
    )


KEY_POINTS = {"keypoints": [1, 2, 2], "num_keypoints": 1}


@pytest.mark.parametrize("folders", [("train2017", "val2017"), ("images/train2017", "images/val2017")])
def test_the_standard_tree(tmp_path, folders):
    train, val = folders
    images_in(tmp_path, f"{train}/0.jpg", f"{train}/1.jpg", f"{val}/0.jpg")
    of = {"train": [image(0, "0.jpg"), image(1, "1.jpg")], "val": [image(0, "0.jpg")]}
    box = {"id": 5, "image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4]}
    person = {**box, **KEY_POINTS}
    other = {"id": 6, "image_id": 0, "category_id": 3, "bbox": [1, 1, 1, 1], **KEY_POINTS}
    captions = [{"id": 9, "image_id": 0, "caption": "a car "}, {"id": 8, "image_id": 0, "caption": "é"}]
    segments = {"id": 70, "category_id": 3, "bbox": [0, 0, 5, 5], "area": 25, "iscrowd": 0}
    panoptic = [{"image_id": 0, "file_name": "0.png", "segments_info": [segments]}]
    files = {
        "instances_train2017": coco(of["train"], [box]),
        "captions_train2017": {"images": of["train"], "annotations": captions},
        "person_keypoints_train2017": coco(of["train"], [person, other], CATEGORIES),
        "panoptic_train2017": coco(of["train"], panoptic),
        "instances_val2017": coco(of["val"], []),
    }
    write_tree(tmp_path, {f"annotations/{name}.json": json.dumps(content) for name, content in files.items()})
    images_in(tmp_path, "annotations/panoptic_train2017/0.png")
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "coco"
    assert set_.found.label == "boxes and polygons, captions, key points, panoptic segments"
    assert set_.found.uses == {f"annotations/{name}.json" for name in files}
    assert set_.splits == {"train2017/0": "train", "train2017/1": "train", "val2017/0": "val"}
    size = {"width": 640, "height": 480}
    del other["image_id"]
    assert set_.labels == {
        "train2017/0": {
            "id": 0,
            **size,
            "captions": ["a car", "é"],
            "annotations": [{**CLASS[3], **other}],
            "segments_info": [{**CLASS[3], **segments}],
        },
        "train2017/1": {
            "id": 1,
            **size,
            "captions": [],
            "annotations": [{**CLASS[18], **KEY_POINTS, "id": 5, "category_id": 18, "bbox": [1, 2, 3, 4]}],
        },
        "val2017/0": {"id": 0, **size, "annotations": []},
    }
    assert set_.fields["train2017/0"] == {
        "jpg": f"{train}/0.jpg",
        "panoptic.png": "annotations/panoptic_train2017/0.png",
    }
    assert not set_.rejected
    assert not set_.problems.left_out


def test_years_stay_where_they_tell_splits_apart(tmp_path):
    images_in(tmp_path, "train2014/0.jpg", "train2017/0.jpg")
    content = json.dumps(coco([image(0, "0.jpg")]))
    write_tree(tmp_path, {f"annotations/instances_train{year}.json": content for year in (2014, 2017)})
    assert Labelled(tmp_path).splits == {"train2014/0": "train2014", "train2017/0": "train2017"}


def test_the_tree_of_roboflow(tmp_path):
    """Two splits with the same ids, a category and its supercategory of one name, dots in names."""
    images_in(tmp_path, "train/a.rf.1.jpg", "valid/b.rf.2.jpg")
    twice = [{"id": 0, "name": "cell"}, {"id": 1, "name": "cell", "supercategory": "cell"}]
    for split, name in (("train", "a.rf.1.jpg"), ("valid", "b.rf.2.jpg")):
        content = coco([image(0, name)], [{"image_id": 0, "category_id": 1}], twice)
        write_tree(tmp_path, {f"{split}/_annotations.coco.json": json.dumps(content)})
    set_ = Labelled(tmp_path, rename_keys=True)
    assert set_.splits == {"train/a.rf.1": "train", "valid/b.rf.2": "valid"}
    assert set_.listing.classes == ("cell",)
    assert set_.labels["valid/b.rf.2"]["annotations"] == [{"label": 0, "class": "cell", "category_id": 1}]


@pytest.mark.parametrize("name", ["annotations.json", "_annotations.coco.json", "annotations/any.json", "train.json"])
def test_other_places(tmp_path, name):
    images_in(tmp_path, "0.jpg")
    write_tree(tmp_path, {name: json.dumps(coco([image(0, "0.jpg")]))})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "coco"
    assert set_.splits == {"0": {"train.json": "train", "annotations/any.json": "any"}.get(name)}


def test_files_of_other_kinds_are_not_coco(tmp_path):
    images_in(tmp_path, "0.jpg")
    write_tree(tmp_path, {"annotations.json": '{"shapes": []}', "train.json": "[]"})
    assert Labelled(tmp_path, "files").found.layout == "files"
    with pytest.raises(SourceError, match="no annotations of COCO in"):
        Labelled(tmp_path, "coco")


def test_images_without_annotations(tmp_path):
    images_in(tmp_path, "test2017/0.jpg")
    content = {"images": [image(0, "0.jpg")], "categories": []}
    write_tree(tmp_path, {"annotations/image_info_test2017.json": json.dumps(content)})
    set_ = Labelled(tmp_path)
    assert set_.labels == {"test2017/0": {"id": 0, "width": 640, "height": 480}}
    assert set_.splits == {"test2017/0": "test"}


def test_where_file_names_lead(tmp_path):
    source = write_tree(tmp_path / "data" / "val", ["0.jpg", "deep/1.jpg", "labels/2.jpg"])
    outside = tmp_path / "data" / "all.json"
    names = ["0.jpg", "./deep/1.jpg", "2.jpg"]
    content = coco([image(number, name) for number, name in enumerate(names)])
    set_ = listed(source, content, path="labels/val.json")  # the last beside the annotations
    assert [label["id"] for label in set_.labels.values()] == [0, 1, 2]
    assert not set_.problems.left_out  # not even the annotation file
    (source / "labels" / "val.json").unlink()
    content = coco([image(number, name) for number, name in enumerate(["val/0.jpg", "deep/1.jpg", "labels/2.jpg"])])
    outside.write_text(json.dumps(content))  # the first relative to the annotations, which lie outside
    set_ = Labelled(source, "coco", annotations=outside)
    assert list(set_.labels) == ["0", "deep/1", "labels/2"]
    assert not set_.rejected


def test_each_misfit_is_rejected(tmp_path):
    write_tree(tmp_path, [f"{number}.jpg" for number in range(8)])
    write_tree(tmp_path, {"1.json": "{}", "notes.txt": "x", "empty.jpg": b""})
    images = [image(0, "0.jpg"), image(1, "1.jpg"), image(2, "2.jpg"), image(2, "3.jpg"), image(4, "4.jpg")]
    images += [
        image(5, "4.jpg"),
        image(6, "missing.jpg"),
        image(7, "../0.jpg"),
        image(8, "5.jpg"),
        image(9, "notes.txt"),
    ]
    images += [image(10, "6.jpg", width=float("inf"))]
    annotations = [{"image_id": 99}, {"image_id": 8, "category_id": 5}, {"image_id": 0, "category_id": 3}]
    images += [image(11, "empty.jpg"), image(12, "/0.jpg"), image(13, "https://x/0.jpg")]
    set_ = listed(tmp_path, json.dumps(coco(images, annotations)).replace("Infinity", "1e999"))
    assert set_.labels == {"0": {**set_.labels["0"], "annotations": [{**CLASS[3], "category_id": 3}]}}
    reasons = {name.removeprefix("annotations.json: "): reason for name, reason in set_.rejected.items()}
    assert reasons.pop("annotations[0]").startswith("its image_id 99 is not the id of an image")
    assert reasons.pop("images[6]").startswith("names 'missing.jpg', which does not exist")
    assert reasons.pop("images[7]").startswith("names '../0.jpg', which is outside the source")
    assert reasons.pop("images[12]").startswith("names '/0.jpg', which is outside the source")
    assert reasons.pop("images[13]").startswith("names 'https://x/0.jpg', which does not exist")
    assert reasons.pop("images[9]").startswith("names 'notes.txt', which is not an image with its own sample")
    assert reasons.pop("1.jpg").startswith("has a label of its own in a .json file")
    assert reasons.pop("2.jpg").startswith("shares its image id with another image")
    assert reasons.pop("3.jpg").startswith("shares its image id with another image")
    assert reasons.pop("4.jpg").startswith("is named by two records, one of them annotations.json: images[5]")
    assert "category_id 5 is not the id of a category" in reasons.pop("5.jpg")
    assert reasons.pop("6.jpg").startswith("JSON cannot represent a value: Out of range float")
    assert reasons.pop("empty.jpg").startswith("the file 'empty.jpg' is empty")  # once, not again by images[11]
    assert not reasons
    assert set_.problems.left_out == {"an image without a record": 1}


def test_panoptic_images_that_are_missing(tmp_path):
    images_in(tmp_path, "val/0.jpg", "panoptic_val/1.png")
    annotations = [{"image_id": 0, "file_name": "../../0.png", "segments_info": []}]
    content = coco([image(0, "0.jpg")], annotations)
    write_tree(tmp_path, {"annotations/panoptic_val.json": json.dumps(content)})
    set_ = Labelled(tmp_path)
    assert set_.rejected == {
        "val/0.jpg": "its panoptic image '../../0.png' is not in 'annotations/panoptic_val/'; put it there"
    }


def test_without_categories(tmp_path):
    content = {"images": [image("a", "1.jpg")], "annotations": [{"image_id": "a", "category_id": 1, "caption": "x"}]}
    set_ = listed(write_tree(tmp_path, ["1.jpg"]), content)
    assert set_.labels["1"]["annotations"] == [{"category_id": 1, "caption": "x"}]
    assert set_.listing.classes is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", r"cannot read the annotations .*: not JSON: "),
        ("[]", r"cannot read the annotations .*: not JSON: expected an object at character 0"),
        ('{"info": 1}', r"not a COCO file: expected a list 'images'; it has none of the lists"),
        ('{"images": []}', r"not a COCO file: expected a list 'annotations'; it has 'images'"),
        ('{"images": [], "annotations": {}}', r"expected a list 'annotations', got dict"),
        ('{"images": [1], "annotations": []}', r"images\[0\] is an int, expected an object"),
        ('{"images": [{"id": 1}], "annotations": []}', r"images\[0\] needs a 'file_name', got None; repair it"),
        ('{"images": [{"id": [], "file_name": "1.jpg"}], "annotations": []}', r"images\[0\] needs a 'id', got \[\]"),
        ('{"images": [], "annotations": [{}]}', r"annotations\[0\] needs a 'image_id', got None"),
        ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', r"categories\[0\] needs a 'name'"),
        (json.dumps(coco([], [], [{"id": 1, "name": "a"}] * 2)), r"category ids must be different, and of one type"),
        (
            json.dumps(coco([], [], [{"id": 1, "name": "a"}, {"id": "b", "name": "b"}])),
            r"must be different, and of one",
        ),
    ],
)
def test_other_files_are_one_error(tmp_path, content, why):
    write_tree(tmp_path, {"1.jpg": b"x"})
    with pytest.raises(SourceError, match=why):
        listed(tmp_path, content)


def test_categories_must_agree(tmp_path):
    images_in(tmp_path, "train/0.jpg", "val/0.jpg")
    for split, name in (("train", "dog"), ("val", "cat")):
        content = coco([image(0, "0.jpg")], [], [{"id": 1, "name": name}])
        write_tree(tmp_path, {f"annotations/instances_{split}.json": json.dumps(content)})
    with pytest.raises(SourceError, match="category 1 is 'dog' in one annotation file and 'cat' in another"):
        Labelled(tmp_path)


def test_category_ids_of_any_json_type(tmp_path):
    content = coco([image(1, "1.jpg")], [{"image_id": 1, "category_id": []}])
    set_ = listed(write_tree(tmp_path, ["1.jpg"]), content)
    assert "category_id [] is not the id of a category" in set_.rejected["1.jpg"]


def test_missing_annotations(tmp_path):
    write_tree(tmp_path, ["1.jpg"])
    with pytest.raises(SourceError, match=r"cannot read .*: No such file or directory"):
        listed(tmp_path)
