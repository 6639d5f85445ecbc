"""The same boxes, written as each tool writes them, become the same labels."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree
from tests.strategies import examples

WIDTH, HEIGHT, NAMES = 200, 100, ("ant", "bee", "cat")
boxes = st.tuples(st.integers(0, 2), st.integers(0, 150), st.integers(0, 50), st.integers(1, 50), st.integers(1, 50))
sets = st.lists(st.lists(boxes, max_size=4), min_size=1, max_size=4)


def yolo(images):
    yield "data.yaml", f"names: [{', '.join(NAMES)}]\n"
    for key, found in images.items():
        lines = [(c, (x + w / 2) / WIDTH, (y + h / 2) / HEIGHT, w / WIDTH, h / HEIGHT) for c, x, y, w, h in found]
        yield f"labels/{key}.txt", "".join("{} {:.9f} {:.9f} {:.9f} {:.9f}\n".format(*line) for line in lines)


def coco(images):
    records = [
        {"id": i, "file_name": f"{key.partition('/')[2]}.jpg", "width": WIDTH, "height": HEIGHT}
        for i, key in enumerate(images)
    ]
    found = [
        {"image_id": i, "category_id": box[0] + 5, "bbox": box[1:]}
        for i, each in enumerate(images.values())
        for box in each
    ]
    categories = [{"id": i + 5, "name": name} for i, name in enumerate(NAMES)]
    yield (
        "annotations/instances_train.json",
        json.dumps({"images": records, "annotations": found, "categories": categories}),
    )


def voc(images):
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    for key, found in images.items():
        objects = [
            f"<object><name>{NAMES[c]}</name><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w}</xmax><ymax>{y + h}</ymax></bndbox></object>"
            for c, x, y, w, h in found
        ]
        yield f"annotations/{key}.xml", f"<annotation>{size}{''.join(objects)}</annotation>"


def labelme(images):
    for key, found in images.items():
        shapes = [
            {"label": NAMES[c], "shape_type": "rectangle", "points": [[x + w, y], [x, y + h]]}
            for c, x, y, w, h in found
        ]
        sides = {"imageWidth": WIDTH, "imageHeight": HEIGHT}
        yield f"annotations/{key}.json", json.dumps({"shapes": shapes, "imagePath": "", **sides})


def cvat(images):
    def image(key, found):
        shapes = [
            f'<box label="{NAMES[c]}" xtl="{x}" ytl="{y}" xbr="{x + w}" ybr="{y + h}"/>' for c, x, y, w, h in found
        ]
        return f'<image name="{key}.jpg" subset="train" width="{WIDTH}" height="{HEIGHT}">{"".join(shapes)}</image>'

    body = "".join(image(key, found) for key, found in images.items())
    yield "annotations.xml", f"<annotations><meta/>{body}</annotations>"


def open_images(images):
    rows = ["ImageID,LabelName,XMin,XMax,YMin,YMax\n"]
    for key, found in images.items():
        for c, x, y, w, h in found:
            shares = (x / WIDTH, (x + w) / WIDTH, y / HEIGHT, (y + h) / HEIGHT)
            rows.append(f"{key.partition('/')[2]},{NAMES[c]},{','.join(f'{share:.9f}' for share in shares)}\n")
    yield "train-annotations-bbox.csv", "".join(rows)


@pytest.mark.parametrize("write", [yolo, coco, voc, labelme, cvat, open_images])
@examples(20)
@given(found=sets)
def test_every_tool_says_the_same(tmp_path_factory, write, found):
    folder = tmp_path_factory.mktemp("set")
    images = {f"train/{number:02d}": each for number, each in enumerate(found)}
    images_in(folder, *(f"images/{key}.jpg" for key in images))
    write_tree(folder, dict(write(images)))
    set_ = Labelled(folder)
    assert not set_.rejected
    assert set_.splits == dict.fromkeys(images, "train")
    for key, expected in images.items():
        label = set_.labels[key]
        assert (label["width"], label["height"]) == (WIDTH, HEIGHT)
        annotations = label.get("annotations", [])
        assert [each["class"] for each in annotations] == [NAMES[box[0]] for box in expected]
        assert [each["bbox"] for each in annotations] == [list(box[1:]) for box in expected]
        assert all(set_.listing.classes[each["label"]] == each["class"] for each in annotations)
    shutil.rmtree(folder)
