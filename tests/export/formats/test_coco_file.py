"""The numbers of categories, and files of COCO written line by line."""

from __future__ import annotations

import json

import pytest

from shardpack.errors import ExportError
from shardpack.export.formats.coco_file import CocoFile, OwnIds, categories_of, has_own_ids


def entries(seen, classes=None):
    found = categories_of(seen, classes)
    return {entry["id"]: entry["name"] for entry in found.entries}, found.number_of


@pytest.mark.parametrize(
    ("seen", "classes", "expected"),
    [
        ([(18, 0, "dog")], ["dog"], ({18: "dog"}, None)),
        ([(18, 0, None)], ["dog"], ({18: "dog"}, None)),
        ([(2, 0, "dog")], ["dog", "cat"], ({2: "dog", 3: "cat"}, None)),
        ([(5, None, None)], None, ({5: "5"}, None)),
        ([(5, None, "dog")], None, ({5: "dog"}, None)),
        ([("/m/x", 0, "dog")], ["dog"], ({1: "dog"}, {0: 1})),
        ([(None, 1, "dog")], None, ({2: "dog"}, {1: 2})),
        ([(None, 1, None)], None, ({2: "1"}, {1: 2})),
        ([(1, 0, "dog"), (1, 1, "cat")], None, ({1: "dog", 2: "cat"}, {0: 1, 1: 2})),
        ([(1, 0, "dog"), (2, 0, "dog")], None, ({1: "dog"}, {0: 1})),
        ([], ["dog"], ({1: "dog"}, None)),
    ],
)
def test_numbers_of_categories(seen, classes, expected):
    assert entries(seen, classes) == expected


def test_numbers_that_say_nothing_are_refused():
    with pytest.raises(ExportError, match="annotations have no label"):
        categories_of([("x", None, None)], None)


def test_two_names_of_one_label_are_refused():
    with pytest.raises(ExportError, match="label 0 is called 'cat' and 'dog'"):
        categories_of([(None, 0, "dog"), (None, 0, "cat")], None)
    with pytest.raises(ExportError, match="label 0 is called 'cat' and 'dog'"):
        categories_of([(None, 0, "dog")], ["cat"])


def test_the_id_of_the_image_is_that_of_the_file(tmp_path):
    image = [{}, None, [{"image_id": 99, "label": 0, "class": "dog"}], []]
    path = tmp_path / "x.json"
    with CocoFile(str(path), lines(tmp_path, image), OwnIds(images=False, annotations=False)) as file:
        file.write_annotations(categories_of([(None, 0, "dog")], None))
    assert json.loads(path.read_text())["annotations"] == [{"id": 1, "image_id": 1, "category_id": 1}]


def lines(folder, *images):
    path = folder / "lines"
    path.write_text("".join(json.dumps(image) + "\n" for image in images))
    return [str(path)]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (([1, 2], [5, 6]), OwnIds(images=True, annotations=True)),
        (([1, 1], [5, 6]), OwnIds(images=False, annotations=True)),
        (([1, None], [5, 5]), OwnIds(images=False, annotations=False)),
        (([1, 2], [5, "6"]), OwnIds(images=True, annotations=False)),
        (([1, True], [5, 2**63]), OwnIds(images=False, annotations=False)),
    ],
)
def test_ids_of_the_source(tmp_path, ids, expected):
    images, annotations = ids
    paths = lines(tmp_path, *([{}, image, [{"id": own}], []] for image, own in zip(images, annotations, strict=True)))
    assert has_own_ids(paths) == expected


def test_an_empty_file_is_json(tmp_path):
    path = tmp_path / "x.json"
    with CocoFile(str(path), [], OwnIds(images=False, annotations=False)) as file:
        file.write_images()
        file.write_captions()
    assert json.loads(path.read_text()) == {"images": [], "annotations": []}
