"""Folders become classes, numbered by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.layouts.classes import add_class_labels
from shardpack.sources.source import Problems
from tests.sources.trees import listing_of, samples_of

folders = st.text("abZé\udce9 %", min_size=1, max_size=2)
keys = st.lists(st.tuples(folders, st.sampled_from(["1", "2", "deep/3"])).map("/".join), max_size=8, unique=True)


@given(keys)
def test_labels_are_json_and_number_the_sorted_names(keys):
    try:
        listing = add_class_labels(listing_of(keys), Problems())
    except SourceError:
        # Only where one folder is called what another, which is not UTF-8, is escaped to.
        assert any("\udce9" in key for key in keys)
        return
    assert list(listing.keys) == sorted(keys)
    assert list(listing.classes) == sorted(set(listing.classes))
    assert len(listing.classes) == len({key.partition("/")[0] for key in keys})
    assert listing.by_class is (len(listing.classes) > 1)
    for key, fields in samples_of(listing).items():
        label = json.loads(fields["json"].decode())
        assert listing.classes[label["label"]] == label["class"]
        folder = key.partition("/")[0]
        assert label["class"] == folder or "\udce9" in folder


def test_label_bytes():
    listing = add_class_labels(listing_of(["dog/deep/1", "cat/1", "café/1"]), Problems())
    labels = {key: fields["json"] for key, fields in samples_of(listing).items()}
    assert labels == {
        "café/1": '{"label":0,"class":"café"}'.encode(),
        "cat/1": b'{"label":1,"class":"cat"}',
        "dog/deep/1": b'{"label":2,"class":"dog"}',
    }
    assert listing.classes == ("café", "cat", "dog")


def test_a_folder_that_is_not_utf8_gives_its_class_the_escaped_name():
    listing = add_class_labels(listing_of(["caf\udce9/1"]), Problems())
    assert samples_of(listing)["caf\udce9/1"]["json"] == b'{"label":0,"class":"caf%E9"}'
    with pytest.raises(SourceError, match="two class folders would both be called 'caf%E9'; rename one"):
        add_class_labels(listing_of(["caf\udce9/1", "caf%E9/1"]), Problems())


def test_images_in_no_folder_or_with_a_label_are_rejected():
    problems = Problems()
    listing = add_class_labels(listing_of({"1": ["jpg"], "a/1": ["jpg", "json"], "a/2": ["jpg", "txt"]}), problems)
    assert list(listing.keys) == ["a/2"]
    assert [name for name, _ in problems.rejected] == ["1.jpg", "a/1.jpg"]
    assert problems.rejected[0][1].startswith("is not in a class folder")
    assert problems.rejected[1][1].startswith("has a label of its own")
