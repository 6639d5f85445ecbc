"""Every annotation reaches its image, and every bad record is named."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.layouts.coco import list_coco, read_annotations
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import samples_of, write_tree
from tests.strategies import examples

CATEGORIES = [{"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car"}]


def image(number, name, **more):
    return {"id": number, "file_name": name, "width": 640, "height": 480, **more}


def coco(images, annotations=(), categories=CATEGORIES):
    return {"images": images, "annotations": list(annotations), "categories": categories}


def listed(folder, content=None, *, path="annotations.json", rename_keys=False):
    """Return labels by key, the listing and the problems."""
    if content is not None:
        write_tree(folder, {path: json.dumps(content)})
    problems, tree = Problems(), Tree(scan(folder, Problems()))
    annotations = read_annotations(tree, os.path.join(folder, path))
    listing = list_coco(tree, annotations, problems, rename_keys=rename_keys)
    return {key: json.loads(fields["json"]) for key, fields in samples_of(listing).items()}, listing, problems


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("coco"), [f"{number}.jpg" for number in range(6)])


boxes = st.fixed_dictionaries(
    {"image_id": st.integers(0, 5), "category_id": st.sampled_from([3, 18]), "bbox": st.lists(st.floats(0, 99))},
    optional={"iscrowd": st.integers(0, 1), "segmentation": st.lists(st.lists(st.integers())), "note": st.text()},
)


@examples(50)
@given(st.permutations(range(6)), st.lists(boxes, max_size=8))
def test_every_annotation_lands_once_in_its_own_image(images, order, annotations):
    records = [image(number, f"{number}.jpg") for number in order]
    labels, listing, problems = listed(images, coco(records, annotations))
    assert list(labels) == [str(number) for number in range(6)]
    for number in range(6):
        label = labels[str(number)]
        assert (label["id"], label["width"], label["height"]) == (number, 640, 480)
        given_here = [dict(annotation) for annotation in annotations if annotation["image_id"] == number]
        for annotation in given_here:
            del annotation["image_id"]
            annotation["category_name"] = {3: "car", 18: "dog"}[annotation["category_id"]]
        assert label["annotations"] == given_here
    assert listing.classes == ("car", "dog")
    assert listing.by_class is False
    assert not problems.rejected
    assert not problems.left_out


def test_label_bytes(tmp_path):
    write_tree(tmp_path, ["val/é.jpg"])
    images = [image(7, "val/é.jpg", license=1)]
    boxes = [{"id": 1, "image_id": 7, "category_id": 18, "bbox": [1, 2.5, 30, 40], "iscrowd": 0}]
    _, listing, _ = listed(tmp_path, coco(images, boxes))
    assert samples_of(listing)["val/é"]["json"] == (
        b'{"id":7,"width":640,"height":480,"license":1,"annotations":'
        b'[{"id":1,"category_id":18,"category_name":"dog","bbox":[1,2.5,30,40],"iscrowd":0}]}'
    )


def test_where_file_names_lead(tmp_path):
    source = write_tree(tmp_path / "data" / "val", ["0.jpg", "deep/1.jpg", "labels/2.jpg"])
    outside = tmp_path / "data" / "all.json"
    names = ["0.jpg", "./deep/1.jpg", "2.jpg"]
    content = coco([image(number, name) for number, name in enumerate(names)])
    labels, _, problems = listed(source, content, path="labels/val.json")  # the last beside the annotations
    assert [label["id"] for label in labels.values()] == [0, 1, 2]
    assert not problems.left_out  # not even the annotation file
    (source / "labels" / "val.json").unlink()
    content = coco([image(number, name) for number, name in enumerate(["val/0.jpg", "deep/1.jpg", "labels/2.jpg"])])
    outside.write_text(json.dumps(content))  # the first relative to the annotations, which lie outside
    problems = Problems()
    tree = Tree(scan(source, Problems()))
    listing = list_coco(tree, read_annotations(tree, outside), problems)
    assert list(listing.keys) == ["0", "deep/1", "labels/2"]
    assert not problems.rejected


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
    images += [image(11, "empty.jpg"), image(12, "/0.jpg")]
    text = json.dumps(coco(images, annotations)).replace("Infinity", "1e999")
    write_tree(tmp_path, {"annotations.json": text})
    labels, _, problems = listed(tmp_path)
    assert labels == {"0": {**labels["0"], "annotations": [{"category_id": 3, "category_name": "car"}]}}
    reasons = {name.removeprefix("annotations.json: "): reason for name, reason in problems.rejected}
    assert reasons.pop("annotations[0]").startswith("its image_id 99 is not the id of an image")
    assert reasons.pop("images[6]").startswith("names 'missing.jpg', which does not exist")
    assert reasons.pop("images[7]").startswith("names '../0.jpg', which is outside the source")
    assert reasons.pop("images[12]").startswith("names '/0.jpg', which is outside the source")
    assert reasons.pop("images[9]").startswith("names 'notes.txt', which is not an image with its own sample")
    assert reasons.pop("1.jpg").startswith("has a label of its own in a .json file")
    assert reasons.pop("2.jpg").startswith("shares its image id 2 with another image")
    assert reasons.pop("3.jpg").startswith("shares its image id 2 with another image")
    assert reasons.pop("4.jpg").startswith("is named by two records, one of them images[5]")
    assert "category_id 5 is not the id of a category" in reasons.pop("5.jpg")
    assert reasons.pop("6.jpg").startswith("JSON cannot represent a value: Out of range float")
    assert reasons.pop("empty.jpg").startswith("the file 'empty.jpg' is empty")  # once, not again by images[11]
    assert not reasons
    assert problems.left_out == {"an image without a record": 1}


def test_without_categories(tmp_path):
    content = {"images": [image("a", "1.jpg")], "annotations": [{"image_id": "a", "category_id": 1, "caption": "x"}]}
    labels, listing, _ = listed(write_tree(tmp_path, ["1.jpg"]), content)
    assert labels["1"]["annotations"] == [{"category_id": 1, "caption": "x"}]
    assert listing.classes is None


def test_dotted_names_with_rename_keys(tmp_path):
    write_tree(tmp_path, ["img.rf.12.jpg", "img.rf.13.jpg"])
    content = coco([image(12, "img.rf.12.jpg"), image(13, "img.rf.13.jpg")])
    labels, _, _ = listed(tmp_path, content, path="_annotations.coco.json", rename_keys=True)
    assert {key: label["id"] for key, label in labels.items()} == {"img.rf.12": 12, "img.rf.13": 13}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", r"cannot read the annotations .*: not JSON: "),
        ("[]", r"not a COCO file: expected a JSON object, got list"),
        ('{"info": 1}', r"not a COCO file: expected a list 'images', got NoneType; it has 'info'"),
        ("{}", r"expected a list 'images', got NoneType; it has nothing"),
        ('{"images": [], "annotations": {}}', r"expected a list 'annotations', got dict"),
        ('{"images": [1], "annotations": []}', r"images\[0\] is a int, expected an object"),
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
    write_tree(tmp_path, {"1.jpg": b"x", "annotations.json": content})
    with pytest.raises(SourceError, match=why):
        listed(tmp_path)


def test_category_ids_of_any_json_type(tmp_path):
    content = coco([image(1, "1.jpg")], [{"image_id": 1, "category_id": []}])
    _, _, problems = listed(write_tree(tmp_path, ["1.jpg"]), content)
    assert "category_id [] is not the id of a category" in problems.rejected[0][1]


def test_missing_annotations(tmp_path):
    with pytest.raises(SourceError, match=r"cannot read '.*annotations.json': No such file or directory; "):
        listed(tmp_path)
