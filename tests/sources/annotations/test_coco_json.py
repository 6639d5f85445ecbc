"""Files that describe the same images are joined; tests/sources/layouts/test_coco.py has whole trees."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import SourceError
from shardpack.sources.annotations.coco_json import CocoLabels

IMAGE = {"id": 1, "file_name": "a.jpg"}
CATEGORIES = [{"id": 1, "name": "dog"}]


def labels_of(*files, hold=()):
    labels = CocoLabels()
    for number, content in enumerate(files):
        labels.add(f"{number}.json", json.dumps({"images": [IMAGE], **content}).encode(), hold=number in hold)
    labels.finish()
    return labels, [json.loads(labels.label(image, {1: 0})) for image in labels.images.values()]


@pytest.mark.parametrize("hold", [(), (0,)])
def test_key_points_join_the_annotation_of_their_id(hold):
    points = {"id": 5, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2], "bbox": [0, 0, 1, 1]}
    alone = {"id": 6, "image_id": 1, "category_id": 1, "keypoints": [2, 2, 2]}
    box = {"id": 5, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    keypoints = {"annotations": [points, alone], "categories": CATEGORIES}
    _, (label,) = labels_of(keypoints, {"annotations": [box], "categories": CATEGORIES}, hold=hold)
    joined = sorted(((each["id"], each.get("keypoints")) for each in label["annotations"]), key=str)
    held = [(5, [1, 1, 2]), (6, [2, 2, 2])]
    assert joined == (held if hold else [(5, None), *held])


def test_key_points_of_another_image_or_category_stay_apart():
    labels = CocoLabels()
    images = [IMAGE, {"id": 2, "file_name": "b.jpg"}]
    points = [{"id": 1, "image_id": image, "category_id": 1, "keypoints": [image]} for image in (1, 2)]
    car = {"id": 1, "image_id": 1, "category_id": 2}
    categories = [*CATEGORIES, {"id": 2, "name": "car"}]
    for name, records in (("points", points), ("instances", [car])):
        content = {"images": images, "annotations": records, "categories": categories}
        labels.add(name, json.dumps(content).encode(), hold=name == "points")
    labels.finish()
    of_each = [json.loads(labels.label(image, {1: 0, 2: 1}))["annotations"] for image in labels.images.values()]
    found = [[(each["class"], each.get("keypoints")) for each in own] for own in of_each]
    assert found == [[("car", None), ("dog", [1])], [("dog", [2])]]


def test_key_points_with_one_id_twice_in_an_image():
    points = {"id": 0, "image_id": 1, "category_id": 1, "keypoints": [1, 1, 2]}
    with pytest.raises(SourceError, match=r"annotations\[1\]: image 1 has the annotation id 0 twice"):
        labels_of({"annotations": [points, points], "categories": CATEGORIES}, hold=(0,))


@pytest.mark.parametrize("hold", [(), (0,)])
@pytest.mark.parametrize("name", ["label", "class"])
def test_an_annotation_with_a_name_of_ours_is_refused(name, hold):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, name: 5}
    with pytest.raises(SourceError, match=f"annotations has a '{name}'.*rename it"):
        labels_of({"annotations": [annotation], "categories": CATEGORIES}, hold=hold)
    _, (label,) = labels_of({"annotations": [annotation]}, hold=hold)
    assert label["annotations"][0][name] == 5


def test_an_image_with_a_name_of_ours_is_refused():
    image = {**IMAGE, "annotations": 1, "captions": 2}
    with pytest.raises(SourceError, match=r"its record has a 'annotations'.*rename it"):
        labels_of({"images": [image], "annotations": [{"id": 1, "image_id": 1}]})
    with pytest.raises(SourceError, match=r"its record has a 'captions'.*rename it"):
        labels_of({"images": [image], "annotations": [{"id": 1, "image_id": 1, "caption": "x"}]})


def test_annotations_in_front_of_their_images():
    labels = CocoLabels()
    labels.add("x.json", b'{"annotations": [{"image_id": 1, "n": 1}], "images": [{"id": 1, "file_name": "a"}]}')
    assert labels.label(labels.images[1], {}) == b'{"id":1,"annotations":[{"n":1}]}'


def test_half_of_a_surrogate_pair_is_escaped():
    labels = CocoLabels()
    labels.add("x.json", rb'{"images": [{"id": 1, "file_name": "a", "x": "\ud800"}], "annotations": []}')
    assert labels.label(labels.images[1], {}) == rb'{"id":1,"x":"\ud800","annotations":[]}'


def test_categories_that_change_their_name():
    with pytest.raises(SourceError, match=r"1\.json: category 1 is 'cat', but 'dog' in another file"):
        labels_of(
            {"annotations": [], "categories": CATEGORIES}, {"annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        )


def test_one_image_in_two_files_and_two_images_of_one_id():
    labels, _ = labels_of({"annotations": []}, {"annotations": []})
    assert not labels.more_images
    assert not labels.images[1].repeated
    labels.add("2.json", json.dumps({"images": [IMAGE, {**IMAGE, "file_name": "b.jpg"}], "annotations": []}).encode())
    assert [image.file_name for image in labels.more_images] == ["b.jpg"]
    assert labels.images[1].repeated


@pytest.mark.parametrize(("name", "says"), [("instances_val", True), ("captions_val", False), ("panoptic_val", False)])
def test_a_file_without_annotations_says_that_there_is_nothing(name, says):
    labels = CocoLabels()
    labels.add(f"annotations/{name}.json", json.dumps({"images": [IMAGE], "annotations": []}).encode())
    assert ("annotations" in json.loads(labels.label(labels.images[1], {}))) == says
