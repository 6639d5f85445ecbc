"""Rows get their labels, with classes numbered; paths tell splits and keys."""

from __future__ import annotations

import json

import pytest

from shardpack.sources.image_rows import ImageRow
from shardpack.sources.label_files import Refused
from shardpack.sources.label_shape import annotation, label
from shardpack.sources.layouts.per_image import labelled_listing, split_in, without_part
from shardpack.sources.source import Problems
from tests.sources.trees import files_of, samples_of


def test_labels_numbers_and_refusals():
    files, problems = files_of(["a.jpg", "b.jpg", "c.jpg", "d.jpg"]), Problems()
    rows = [ImageRow(key, {"jpg": number}) for number, key in enumerate("abcd")]
    values = [
        label(1, 2, [annotation(name="dog"), annotation(name="ant")]),
        Refused("it is bad"),
        None,
        label(1, 2, [], ratio=float("inf")),
    ]
    listing = labelled_listing(rows, files, values, problems, classes=["zebra", "dog"])
    assert listing.classes == ("zebra", "dog", "ant")
    samples = samples_of(listing)
    assert list(samples) == ["a", "c"]
    assert [each["label"] for each in json.loads(samples["a"]["json"])["annotations"]] == [1, 2]
    assert "json" not in samples["c"]
    assert problems.rejected[0] == ("b.jpg", "it is bad")
    assert "JSON cannot represent" in problems.rejected[1][1]


@pytest.mark.parametrize(("name", "split"), [("a/Train/x.jpg", "Train"), ("train.jpg", None), ("trains/x.jpg", None)])
def test_splits_of_paths(name, split):
    assert split_in(name) == split


@pytest.mark.parametrize(
    ("stem", "rest"), [("a/images/b/images/c", "a/images/b/c"), ("Images/a", "a"), ("b/images", "b/images")]
)
def test_parts_are_left_out(stem, rest):
    assert without_part(stem, "images") == rest
