"""Texts reach their images; malformed lines and lists of other things are named."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from tests.sources.layouts.labelled import Labelled, images_in
from tests.sources.trees import write_tree


@pytest.mark.parametrize("name", ["gt.txt", "labels.txt", "rec_gt.tsv"])
def test_a_list(tmp_path, name):
    images_in(tmp_path, "images/a.jpg", "images/b.jpg")
    write_tree(tmp_path, {name: 'images/a.jpg\tHello, "you"\nimages\\b.jpg\té\t2\r\n\n'})
    set_ = Labelled(tmp_path)
    assert set_.found.layout == "ocr"
    assert set_.labels == {"a": {"text": 'Hello, "you"'}, "b": {"text": "é\t2"}}
    assert set_.listing.classes is None
    assert set_.listing.label_shape is None


def test_lists_of_icdar_and_splits(tmp_path):
    images_in(tmp_path, "train/a.jpg", "b.jpg")
    write_tree(tmp_path, {"train/gt.txt": 'a.jpg, "say \\"x\\", y"\n', "rec_gt_test.txt": "b.jpg\tz"})
    set_ = Labelled(tmp_path)
    assert set_.labels == {"train/a": {"text": 'say "x", y'}, "b": {"text": "z"}}
    assert set_.splits == {"train/a": "train", "b": "test"}


def test_misfits_are_named(tmp_path):
    images_in(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    lines = ["a.jpg\tx", "no tab", "e.jpg\tx", "../a.jpg\tx", "b.jpg\tx", "b.jpg\ty", 'c.jpg\t[{"points": []}]']
    write_tree(tmp_path, {"gt.txt": "\n".join(lines)})
    set_ = Labelled(tmp_path)
    assert set_.labels == {"a": {"text": "x"}}
    reasons = set_.rejected
    assert reasons.pop("gt.txt:2") == "expected a path, a tab and a text; correct the line"
    assert "'e.jpg', which does not exist" in reasons.pop("gt.txt:3")
    assert "outside the source" in reasons.pop("gt.txt:4")
    assert reasons.pop("b.jpg").startswith("is described twice, the second time by gt.txt:6")
    assert reasons.pop("gt.txt:7").startswith("holds boxes with texts")
    assert not reasons
    assert dict(set_.problems.left_out) == {"an image that is in no list": 2}


def test_other_texts_are_not_lists(tmp_path):
    images_in(tmp_path, "a.jpg")
    write_tree(tmp_path, {"labels.txt": "cat\ndog\n"})
    assert Labelled(tmp_path, "files").found.layout == "files"
    with pytest.raises(SourceError, match="no list of texts in"):
        Labelled(tmp_path, "ocr")
    write_tree(tmp_path, {"gt.txt": b"a.jpg\t\xff"})
    with pytest.raises(SourceError, match=r"gt\.txt:1: not UTF-8"):
        Labelled(tmp_path, "ocr")
