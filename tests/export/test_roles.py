"""What each field is to a format, and the questions about what it cannot hold."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import DecodeError, ExportError, OptionError
from shardpack.export.exporter import Contents, LabelSurvey
from shardpack.export.roles import Roles, refuse_lost, refuse_unknown_drops, require_image, roles_of
from shardpack.read.sample import Sample


def contents(count=10, **counts):
    counts = {name.replace("_", "."): number for name, number in counts.items()}
    return Contents(None, counts, {}, np.zeros(count, np.int64), ((None, range(count)),), "")


def test_fields_have_roles():
    roles = roles_of(contents(jpg=6, png=4, seg_png=10, json=10, cls=10, meta_json_zst=2, npy=1))
    assert roles == Roles(("jpg", "png"), ("cls", "json", "meta.json.zst"), ("npy", "seg.png"))
    assert roles.fields == ("cls", "jpg", "json", "meta.json.zst", "npy", "png", "seg.png")


def test_images_that_samples_have_together_are_payloads():
    assert roles_of(contents(jpg=10, png=1)) == Roles((), (), ("jpg", "png"))


def test_the_image_of_a_sample():
    roles = Roles(("jpg", "png"), (), ())
    assert roles.image_of(Sample(png=b"")) == "png"
    with pytest.raises(ExportError, match="expected one image, as jpg or png; got jpg, png"):
        roles.image_of(Sample(jpg=b"", png=b""))
    with pytest.raises(ExportError, match="got none"):
        roles.image_of(Sample(bin=b""))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"json": b'{"label": 1, "x": [2]}'}, {"label": 1, "x": [2]}),
        ({"json": b"[1]"}, {"json": [1]}),
        ({"cls": b"4", "txt": b"a cat"}, {"label": 4, "txt": "a cat"}),
        ({"cls": b"4", "json": b'{"label": 5}'}, {"cls": 4, "label": 5}),
        ({"meta.json": b'{"a": 1}'}, {"meta.json": {"a": 1}}),
        ({}, {}),
    ],
)
def test_labels_become_values_by_name(fields, expected):
    assert Roles((), tuple(fields), ()).label_of(Sample(fields)) == expected


def test_a_label_without_what_is_dropped():
    roles = Roles((), ("json", "txt"), ())
    assert roles.label_of(Sample({"json": b'{"a": 1, "b": 2}', "txt": b"c"}), ["b", "txt"]) == {"a": 1}
    assert roles.label_of(Sample({"txt": b"c"})) == {"txt": "c"}


def test_names_that_were_left_out_are_told():
    roles, dropped = Roles((), ("json", "txt"), ()), set()
    roles.label_of(Sample({"json": b'{"a": 1}', "txt": b"c"}), ["b", "txt"], dropped)
    assert dropped == {"txt"}


def test_a_value_to_leave_out_that_no_label_has_is_refused():
    survey = LabelSurvey({"b": None}, {"b": 1}, has_classes=False, dropped=frozenset({"a"}))
    refuse_unknown_drops(survey, ["a"])
    with pytest.raises(OptionError, match=r"no label has a value 'c' to leave out \(--drop\); the values are a, b$"):
        refuse_unknown_drops(survey, ["a", "c"])


def test_two_labels_of_one_name_are_refused():
    with pytest.raises(ExportError, match="two labels are called 'txt'"):
        Roles((), ("json", "txt"), ()).label_of(Sample({"json": b'{"txt": 1}', "txt": b"c"}))
    with pytest.raises(DecodeError):
        Roles((), ("json",), ()).label_of(Sample(json=b"{"))


def test_one_image_is_required():
    require_image("folder", contents(jpg=10), roles_of(contents(jpg=10)))
    two = contents(jpg=10, png=10, json=10)
    with pytest.raises(OptionError, match=r"have jpg, png; choose one of them .*--fields jpg,json\)"):
        require_image("folder", two, roles_of(two))
    with pytest.raises(OptionError, match="the samples have none: their fields are npy"):
        require_image("folder", contents(npy=10), roles_of(contents(npy=10)))


def test_what_would_be_lost_is_a_question():
    refuse_lost("folder", contents(jpg=10), ["jpg", "png"])
    with pytest.raises(OptionError, match=r"cannot hold npy \(of 3 samples\), seg.png .*\(--fields jpg,json\)"):
        refuse_lost("folder", contents(jpg=10, json=1, npy=3, seg_png=1), ["jpg", "json"])
