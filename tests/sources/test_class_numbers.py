"""Labels have the numbers of the dataset that they are added to; what a number means is never guessed."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.class_numbers import ClassNumbers, is_label_field, number_classes
from tests.fakes import inline_listing

KNOWN = ("cat", "dog")


def text(value):
    return json.dumps(value, separators=(",", ":")).encode()


def listing_of(*labels, classes=None, field="json"):
    samples = {f"s{i}": {"jpg": b"x", field: label} for i, label in enumerate(labels)}
    return replace(inline_listing(samples), classes=classes)


def labels_of(listing, field="json"):
    code = listing.fields.index(field)
    return [p for p, c in zip(listing.payload, listing.field_code.tolist(), strict=True) if c == code]


def test_unknown_classes_come_at_the_end():
    numbers = ClassNumbers.of(KNOWN, ("bird", "cat", "ant"))
    assert (numbers.names, numbers.numbers) == (("cat", "dog", "bird", "ant"), (2, 0, 3))
    assert not numbers.changes_nothing
    assert ClassNumbers.of(KNOWN, ("cat", "dog", "ant")).changes_nothing
    assert ClassNumbers.of(KNOWN, ("cat",)).changes_nothing
    assert not ClassNumbers.of(KNOWN, None).changes_nothing
    assert ClassNumbers.of((), ("a", "b")).changes_nothing
    assert pickle.loads(pickle.dumps(numbers)) == numbers


def test_labels_of_a_class_list_are_renumbered():
    boxes = {"width": 4, "annotations": [{"bbox": [0, 0, 1, 1], "label": 1, "class": "cat"}, {"label": 0}]}
    found = listing_of(text({"label": 1, "class": "cat"}), text(boxes), text({"label": -1}), classes=("bird", "cat"))
    made = number_classes(found, KNOWN)
    assert made.classes == ("cat", "dog", "bird")
    first, second, third = map(json.loads, labels_of(made))
    assert (first, third) == ({"label": 0, "class": "cat"}, {"label": -1})
    assert [part["label"] for part in second["annotations"]] == [0, 2]
    assert list(second) == ["width", "annotations"]
    assert made.size.tolist() == [len(payload) for payload in made.payload]
    assert labels_of(made)[2] is labels_of(found)[2]  # what does not change keeps its bytes


def test_equal_numbers_cost_nothing():
    found = listing_of(b"not even JSON", classes=("cat", "dog", "ant"))
    made = number_classes(found, KNOWN)
    assert (made.classes, made.payload) == (("cat", "dog", "ant"), found.payload)


def test_checksums_of_changed_labels_are_forgotten():
    found = listing_of(text({"label": 0}), text({"label": 1}), classes=("dog", "cat"))
    found = replace(found, crc32c=np.arange(4), mtime_ns=np.arange(4))
    made = number_classes(found, ("dog", "bird"))
    changed = [b"2" in payload for payload in made.payload]
    assert [value == -1 for value in made.crc32c.tolist()] == changed
    assert [value == 0 for value in made.mtime_ns.tolist()][1:] == changed[1:]


@pytest.mark.parametrize("label", [{"label": 1, "class": "bird"}, {"label": 2}, {"annotations": [{"label": 7}]}])
def test_labels_that_contradict_their_class_list_are_refused(label):
    with pytest.raises(SourceError, match=r"s0.*contradicts the class list of the source"):
        number_classes(listing_of(text(label), classes=("bird", "cat")), KNOWN)


def test_without_a_class_list_names_decide():
    found = listing_of(text({"label": 9, "class": "dog"}), text({"class": "cat"}), text({"class": "ant", "x": 1}))
    made = number_classes(found, KNOWN)
    assert made.classes == ("cat", "dog", "ant")
    assert list(map(json.loads, labels_of(made))) == [
        {"label": 1, "class": "dog"},
        {"label": 0, "class": "cat"},
        {"label": 2, "class": "ant", "x": 1},
    ]


def test_a_number_that_nothing_explains_is_a_question():
    with pytest.raises(OptionError, match=r"s1.*label 1 has no class name.*--classes"):
        number_classes(listing_of(text({"label": 1, "class": "cat"}), text({"label": 1})), KNOWN)
    with pytest.raises(OptionError, match="label 0 has no class name"):
        number_classes(listing_of(b"0", field="cls"), KNOWN)


def test_labels_that_say_nothing_of_classes_stay():
    labels = [text(["a"]), text({"caption": "x"}), text({"label": "text"}), text({"label": None}), text(3)]
    found = listing_of(*labels)
    assert labels_of(number_classes(found, KNOWN)) == labels


def test_numbers_may_be_those_of_the_dataset():
    found = listing_of(text({"label": 1}), text({"label": 0, "class": "dog"}))
    made = number_classes(found, KNOWN, is_same=True)
    assert list(map(json.loads, labels_of(made))) == [{"label": 1}, {"label": 1, "class": "dog"}]
    with pytest.raises(SourceError, match="label 2 has no class: the dataset has 2"):
        number_classes(listing_of(text({"label": 2})), KNOWN, is_same=True)
    with pytest.raises(OptionError, match="class 'ant' is not among those"):
        number_classes(listing_of(text({"class": "ant"})), KNOWN, is_same=True)


def test_whole_numbers_with_a_fraction_are_numbers_of_classes():
    made = number_classes(listing_of(b'{"label":0.0}', b'{"label":1.0}', classes=("bird", "dog")), KNOWN)
    assert labels_of(made) == [b'{"label":2}', b'{"label":1.0}'], "one that stays keeps its bytes"


def test_numbers_in_fields_of_their_own_follow():
    made = number_classes(listing_of(b"1", b"0", field="cls", classes=("bird", "cat")), KNOWN)
    assert labels_of(made, "cls") == [b"0", b"2"]


def test_compressed_labels_follow():
    pytest.importorskip("zstandard")
    from shardpack.codecs.decode import decode_field
    from shardpack.codecs.encode import encode_field

    payload = encode_field("json.zst", {"label": 0, "class": "bird"})
    made = number_classes(listing_of(payload, field="json.zst", classes=("bird",)), KNOWN)
    assert decode_field("json.zst", labels_of(made, "json.zst")[0]) == {"label": 2, "class": "bird"}


@pytest.mark.parametrize("payload", [b"{", b"\xff"])
def test_labels_that_cannot_be_read_are_named(payload):
    with pytest.raises(SourceError, match=r"s0.*json cannot be read"):
        number_classes(listing_of(payload, classes=("bird",)), KNOWN)
    with pytest.raises(SourceError, match=r"s0.*json cannot be read"):
        number_classes(listing_of(payload), KNOWN)


def test_values_of_code_are_numbered_as_they_are():
    numbers = ClassNumbers.of(KNOWN, ("bird", "cat"))
    value = {"label": 1, "class": "cat"}
    assert numbers.payload("json", value) == {"label": 0, "class": "cat"}
    assert value == {"label": 1, "class": "cat"}
    assert numbers.payload("cls", 0) == 2
    same = {"caption": "x"}
    assert numbers.payload("json", same) is same


def test_fields_with_labels():
    assert [name for name in ("json", "json.zst", "cls", "jpg", "a.json", "txt") if is_label_field(name)] == [
        "json",
        "json.zst",
        "cls",
    ]
