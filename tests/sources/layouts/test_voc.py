"""Pascal VOC's tree: boxes, splits by lists, masks; XML without an image is named."""

from __future__ import annotations

import pytest

from shardpack.codecs.field_types import is_mask
from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree

BOX = "<bndbox><xmin>9</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox>"


def xml(*names):
    objects = "".join(f"<object><name>{name}</name>{BOX}</object>" for name in names)
    return f"<annotation><size><width>200</width><height>100</height></size>{objects}</annotation>"


def label(*classes):
    annotations = [{"bbox": [8, 0, 12, 30], "label": number, "class": name} for number, name in classes]
    return {"width": 200, "height": 100, "annotations": annotations}


def test_the_tree_of_a_year(tmp_path):
    images_in(tmp_path, *(f"VOC2007/JPEGImages/{n}.jpg" for n in "abcd"))
    images_in(tmp_path, "VOC2007/SegmentationClass/a.png", "VOC2007/SegmentationObject/a.png")
    lists = {"train": "a  1\n", "val": "b -1\n", "trainval": "a\nb\n", "test": "c\n", "dog_train": "a 1\n"}
    write_tree(tmp_path, {f"VOC2007/ImageSets/Main/{name}.txt": text for name, text in lists.items()})
    write_tree(tmp_path, {"VOC2007/Annotations/a.xml": xml("dog", "cat"), "VOC2007/Annotations/b.xml": xml("dog")})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "voc"
    assert set_.found.uses == {f"VOC2007/ImageSets/Main/{name}.txt" for name in lists} | {
        "VOC2007/Annotations/a.xml",
        "VOC2007/Annotations/b.xml",
    }
    assert set_.splits == {"VOC2007/a": "train", "VOC2007/b": "val", "VOC2007/c": "test"}
    assert set_.labels == {"VOC2007/a": label((1, "dog"), (0, "cat")), "VOC2007/b": label((1, "dog"))}
    assert set_.listing.classes == ("cat", "dog")
    assert set_.listing.label_shape == "annotations"
    assert set_.fields["VOC2007/a"] == {
        "jpg": "VOC2007/JPEGImages/a.jpg",
        "seg.png": "VOC2007/SegmentationClass/a.png",
        "seg.object.png": "VOC2007/SegmentationObject/a.png",
    }
    assert is_mask("seg.object.png")
    assert set_.problems.left_out_names == ["VOC2007/JPEGImages/d.jpg"]
    assert dict(set_.problems.noted) == {"images without annotations": 1}


@pytest.mark.parametrize(
    ("image", "annotation", "key", "split"),
    [
        ("images/a.jpg", "annotations/a.xml", "a", None),
        ("images/train/a.jpg", "annotations/train/a.xml", "train/a", "train"),
        ("valid/a.jpg", "valid/a.xml", "valid/a", "valid"),
        ("a.jpg", "a.xml", "a", None),
    ],
)
def test_other_trees(tmp_path, image, annotation, key, split):
    images_in(tmp_path, image)
    write_tree(tmp_path, {annotation: xml("dog")})
    set_ = Labelled(tmp_path)
    assert set_.labels == {key: label((0, "dog"))}
    assert set_.splits == {key: split}


def test_bad_files_are_named(tmp_path):
    images_in(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write_tree(tmp_path, {"a.xml": xml("dog"), "b.xml": "<annotation><object/></annotation>", "d.xml": xml()})
    write_tree(tmp_path, {"c.xml": "<!DOCTYPE x [<!ENTITY y 'z'>]>" + xml("&y;")})
    set_ = Labelled(tmp_path)
    assert list(set_.labels) == ["a"]
    assert set_.rejected == {
        "b.jpg": "b.xml: object[0] has no name; name its class",
        "c.jpg": "c.xml: the file has a document type or entities, which are not read; remove them",
        "d.xml": "describes an image that is not in 'the root'; restore it, or remove this file",
    }


def test_other_xml_is_not_voc(tmp_path):
    images_in(tmp_path, "a.jpg")
    write_tree(tmp_path, {"a.xml": "<svg/>"})
    assert Labelled(tmp_path, "files").found.layout == "files"
    with pytest.raises(SourceError, match="no annotations of Pascal VOC in"):
        Labelled(tmp_path, "voc")
