"""Numbers and names of classes in labels: completed by the class list, and never in contradiction to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.label_classes import complete_labels, merged_label
from shardpack.sources.label_rows import LabelRow

CLASSES = ("cap", "coat", "hat")


def completed(*values, classes=CLASSES, new_classes=False):
    rows = [LabelRow(str(number), value, f"a.csv:{number}") for number, value in enumerate(values)]
    found, names = complete_labels(rows, classes, new_classes=new_classes, name="a.csv")
    return [row.value for row in found], names


@pytest.mark.parametrize(
    "value",
    [
        {"class": "hat"},
        {"label": 2},
        {"label": "hat"},
        {"label": 2, "class": "hat"},
        {"class": "hat", "label": None},
        {"label": 2.0},
        {"label": 2.0, "class": "hat"},
    ],
)
def test_number_and_name_stand_together(value):
    assert completed({"id": 7, **value, "n": 1}) == ([{"id": 7, "label": 2, "class": "hat", "n": 1}], CLASSES)
    assert list(completed(value)[0][0]) == ["label", "class"]


@pytest.mark.parametrize(
    "value", [3, None, [1], {}, {"label": None}, {"label": [1, 2]}, {"label": 0.5}, {"label": True}]
)
def test_values_without_a_class_stay(value):
    assert completed(value) == ([value], CLASSES)


def test_annotations_are_completed_too():
    value = {"annotations": [{"class": "hat"}, {"label": 0, "bbox": [1, 2, 3, 4]}, 7]}
    parts = [{"label": 2, "class": "hat"}, {"label": 0, "class": "cap", "bbox": [1, 2, 3, 4]}, 7]
    assert completed(value)[0] == [{"annotations": parts}]
    assert completed({"annotations": None})[0] == [{"annotations": None}]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"label": 1, "class": "hat"}, r"a\.csv:0: label 1 contradicts class 'hat', which is number 2"),
        ({"label": "cap", "class": "hat"}, r"label 'cap' contradicts class 'hat'"),
        ({"label": True, "class": "hat"}, r"label True contradicts"),
        ({"label": 3}, r"label is 3, expected 0 to 2: there are 3 classes"),
        ({"label": -1}, r"label is -1"),
        ({"label": 99.0}, r"label is 99, expected 0 to 2"),
        ({"label": 1.0, "class": "hat"}, r"label 1\.0 contradicts class 'hat'"),
        ({"annotations": [{"label": 9}]}, r"label is 9"),
        ({"class": "scarf"}, r"a\.csv:0: class 'scarf' is not among the 3 of the dataset .--new-classes would add it"),
        ({"label": "scarf"}, r"class 'scarf' is not among"),
        ({"annotations": [{"class": "scarf"}]}, r"class 'scarf' is not among"),
    ],
)
def test_contradictions_and_unknown_classes_are_refused(value, message):
    with pytest.raises(SourceError, match=message):
        completed(value)


def test_new_classes_come_at_the_end_of_the_list():
    values = {"class": "scarf"}, {"label": "boot"}, {"class": "hat"}, {"label": 4}
    found, names = completed(*values, new_classes=True)
    assert names == (*CLASSES, "boot", "scarf")
    assert [value["label"] for value in found] == [4, 3, 2, 4]


@given(st.lists(st.sampled_from([*CLASSES, "boot", "scarf"])))
def test_the_old_classes_keep_their_numbers(used):
    found, names = completed(*[{"class": name} for name in used], new_classes=True)
    assert names[:3] == CLASSES
    assert [names[value["label"]] for value in found] == used


def test_without_a_class_list_nothing_is_added():
    assert completed({"class": "hat"}, {"label": 9}, classes=None) == ([{"class": "hat"}, {"label": 9}], None)


def test_updates_replace_names_at_the_top():
    old = {"label": 1, "class": "coat", "box": {"x": 1, "y": 2}, "n": 3}
    assert merged_label(old, {"box": {"x": 5}, "m": None}) == {**old, "box": {"x": 5}, "m": None}
    assert merged_label(old, {"label": 2, "class": "hat"})["class"] == "hat"
    assert merged_label({"label": 1}, {"label": 2}) == {"label": 2}


@pytest.mark.parametrize("value", [{"label": 2}, {"class": "hat"}, {"label": None}])
def test_an_update_leaves_no_half_of_a_class(value):
    with pytest.raises(SourceError, match=r"gives (label|class) alone, and the old label has .*give both"):
        merged_label({"label": 1, "class": "coat"}, value)


@pytest.mark.parametrize("old", [3, [1], None])
def test_what_is_no_object_is_not_updated(old):
    with pytest.raises(SourceError, match="no object to update"):
        merged_label(old, {"a": 1})
