"""CVAT's file gives each image its shapes, and each subset its split."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree

META = "<meta><task><labels><label><name>dog</name></label><label><name>cat</name></label></labels></task></meta>"
BOX = '<box label="cat" occluded="0" xtl="1" ytl="2" xbr="5" ybr="6"/>'
LABEL = {"width": 200, "height": 100, "annotations": [{"bbox": [1, 2, 4, 4], "label": 1, "class": "cat"}]}


def image(name, *shapes, subset=None):
    more = f' subset="{subset}"' if subset else ""
    return f'<image id="0" name="{name}"{more} width="200" height="100">{"".join(shapes)}</image>'


def file_of(*images):
    return f"<?xml version='1.0'?><annotations><version>1.1</version>{META}{''.join(images)}</annotations>"


@pytest.mark.parametrize("place", ["", "images/", "images/Train/"])
def test_where_images_are(tmp_path, place):
    images_in(tmp_path, f"{place}a.jpg")
    write_tree(tmp_path, {"annotations.xml": file_of(image("a.jpg", BOX, subset="Train"))})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "cvat"
    (key,) = set_.labels
    assert set_.labels[key] == LABEL
    assert set_.splits[key] == "Train"
    assert set_.listing.classes == ("dog", "cat")
    assert set_.found.uses == {"annotations.xml"}


def test_misfits_are_named(tmp_path):
    images_in(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    shapes = [
        image("a.jpg", BOX),
        image("b.jpg", '<polyline label="a" points="1,2;3,4"/>'),
        image("c.jpg"),
        image("c.jpg"),
    ]
    shapes += [image("../../x.jpg"), image("/etc/x.jpg"), image("https://x/y.jpg")]
    write_tree(tmp_path, {"task.xml": file_of(*shapes)})
    set_ = Labelled(tmp_path)
    assert set_.labels == {"a": LABEL}
    assert set_.splits == {"a": None}
    reasons = set_.rejected
    assert reasons.pop("b.jpg").startswith("task.xml: a polyline has no place in labels")
    assert reasons.pop("c.jpg").startswith("is described twice, the second time by task.xml: image 'c.jpg'")
    assert "outside the source" in reasons.pop("task.xml: image '../../x.jpg'")
    assert "outside the source" in reasons.pop("task.xml: image '/etc/x.jpg'")
    assert "does not exist" in reasons.pop("task.xml: image 'https://x/y.jpg'")
    assert not reasons
    assert dict(set_.problems.left_out) == {"an image without annotations": 1}


def test_damaged_files_are_one_error(tmp_path):
    images_in(tmp_path, "a.jpg")
    write_tree(tmp_path, {"annotations.xml": file_of(image("a.jpg", BOX))[:-20]})
    with pytest.raises(SourceError, match=r"annotations\.xml: not XML: "):
        Labelled(tmp_path)
    write_tree(tmp_path, {"annotations.xml": "<svg/>"})
    with pytest.raises(SourceError, match="no annotations of CVAT in"):
        Labelled(tmp_path, "cvat")
