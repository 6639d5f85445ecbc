"""One line says what was found, how many samples in which splits, and what a sample will be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.sources.layouts.describe import describe, left_out_line, without_match_line
from shardpack.sources.source import Problems
from shardpack.sources.splits import with_splits
from tests.sources.trees import listing_of


@pytest.mark.parametrize(
    ("samples", "classes", "label", "line"),
    [
        (["a"], None, "", "X: 1 sample; a sample is jpg, without labels"),
        ({"a": ["jpg", "json"]}, None, "boxes", "X: 1 sample; a sample is jpg + json (boxes)"),
        ({"a": ["jpg", "json"]}, ("x",), "", "X: 1 sample; a sample is jpg + json (1 class: x)"),
        (
            {"a": ["jpg", "json"], "b": ["png"], "c": ["png", "seg.png"]},
            tuple("wxyz"),
            "boxes",
            (
                "X: 3 samples; a sample is png or jpg + json (boxes; 4 classes: w, x, y, ...) in 1 of 3 + "
                "seg.png in 1 of 3"
            ),
        ),
    ],
)
def test_lines(samples, classes, label, line):
    assert describe(replace(listing_of(samples), classes=classes), title="X", label=label) == line


def test_what_is_noted():
    line = describe(listing_of(["a"]), title="X", noted={"without a label file": 1200})
    assert line == "X: 1 sample; a sample is jpg, without labels; 1,200 without a label file"


def test_splits():
    listing = with_splits(listing_of(["a", "b", "c"]), ["val", "train", "val"])
    assert describe(listing, title="X") == "X: 3 samples in train 1, val 2; a sample is jpg, without labels"


def test_what_is_left_out():
    problems = Problems()
    assert left_out_line(problems) == ""
    problems.leave_out("a.md", "not in a sample, .md")
    problems.leave_out("b.md", "not in a sample, .md")
    problems.leave_out(".x", "hidden")
    assert left_out_line(problems) == "left out 3 files: 'a.md', 'b.md', '.x'"
    problems.leave_out(".y", "hidden")
    assert left_out_line(problems) == (
        "left out 4 files: 2 not in a sample, .md (such as 'a.md'), 2 hidden (such as '.x')"
    )


def test_patterns_that_match_no_file():
    assert without_match_line([]) == ""
    assert without_match_line(["*.zzz", "x/"]) == "no file matches '*.zzz', 'x/'"
