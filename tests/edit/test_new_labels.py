"""Labels as they will be written: in stored order, completed from the class list, and the same for the same rows."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.edit.new_labels import AskedLabels
from shardpack.errors import SourceError
from shardpack.runtime.progress import no_progress
from shardpack.sources.label_rows import read_label_rows

ROWS = {"b": {"class": "hat"}, "a": {"label": 0, "n": 1}}


@pytest.fixture
def base(tmp_path):
    with shardpack.ShardWriter(tmp_path, classes=["cap", "hat"]) as writer:
        for key, number in (("a", 0), ("b", 1), ("c", 0)):
            writer.write(key, {"json": {"label": number, "old": 1}, "cls": number})
    return open_base(tmp_path)


def asked(rows, **options):
    rows = read_label_rows(rows, key_column="key", without_nulls=False)
    return AskedLabels(rows, "labels", **{"update": False, "new_classes": False, **options})


def test_labels_are_in_stored_order_and_complete(base):
    made = asked(ROWS).labels_of(base, no_progress)
    assert made.positions.tolist() == [0, 1]
    assert [(key, json.loads(texts["json"])) for key, texts in made.samples()] == [
        ("a", {"label": 0, "class": "cap", "n": 1}),
        ("b", {"label": 1, "class": "hat"}),
    ]
    assert (made.fields, made.new_classes) == (("json",), [])


def test_numbers_in_another_field_follow(base):
    made = asked({"a": {"label": 1}}).labels_of(base, no_progress)
    ((_, texts),) = made.samples()
    assert texts["cls"] == b"1"
    assert made.fields == ("cls", "json")


def test_old_labels_are_updated(base):
    made = asked({"c": {"n": 1}}, update=True).labels_of(base, no_progress)
    assert made.texts == [b'{"label":0,"old":1,"n":1}']


def test_what_updates_nothing_is_refused(base):
    with pytest.raises(SourceError, match="7 updates nothing, expected an object"):
        asked({"a": {"n": 1}, "b": 7}, update=True).labels_of(base, no_progress)


def test_equal_rows_and_options_have_equal_digests(base):
    digests = [asked(ROWS).digest(), asked(ROWS, update=True).digest(), asked({"a": {}}).digest()]
    assert len(set(digests)) == 3
    assert asked(ROWS).digest() == digests[0]
    made = asked(ROWS).labels_of(base, no_progress)
    assert made.digest() == asked(ROWS).labels_of(base, no_progress).digest()
    assert made.digest() != asked({"a": {"label": 0}}).labels_of(base, no_progress).digest()
