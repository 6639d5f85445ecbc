"""Rows of files from several places become a listing whose columns fit together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.image_rows import ImageRow, cut_extension, is_image_file, listing_of, usable_rows
from shardpack.sources.source import Problems
from shardpack.sources.splits import split_of
from tests.sources.trees import files_of, samples_of


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([None, "train", "val"])), max_size=20))
def test_samples_are_their_rows(shapes):
    names = [f"images/{number:02d}.jpg" for number in range(len(shapes))]
    masks = [f"masks/{number:02d}.png" for number, (has_mask, _) in enumerate(shapes) if has_mask]
    files = files_of([*names, *masks])
    rows = []
    for number, (has_mask, split) in enumerate(shapes):
        found = {"jpg": files.names.index(names[number])}
        if has_mask:
            found["mask.png"] = files.names.index(f"masks/{number:02d}.png")
        rows.append(ImageRow(f"{number:02d}", found, split))
    listing = listing_of(usable_rows(rows[::-1], files, Problems()), files)
    expected = {row.key: {field: files.names[number] for field, number in row.files.items()} for row in rows}
    assert samples_of(listing) == expected
    assert [split_of(listing, number) for number in range(len(rows))] == [split for _, split in shapes]


def test_empty_files_are_rejected():
    files = files_of(["a.jpg", "b.jpg", "m/b.png"], sizes={"m/b.png": 0})
    problems = Problems()
    rows = [ImageRow("a", {"jpg": 0}), ImageRow("b", {"jpg": 1, "mask.png": 2})]
    assert usable_rows(rows, files, problems) == rows[:1]
    assert problems.rejected == [("b.jpg", "the file 'm/b.png' is empty; write it again, or remove it")]


def test_too_many_fields():
    files = files_of(["a.jpg"])
    row = ImageRow("a", {f"{number}.jpg": 0 for number in range(70_000)})
    with pytest.raises(SourceError, match="70000 different fields"):
        listing_of([row], files)


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a.b/c.rf.JPG", ("a.b/c.rf", "jpg")), ("a.b/c", ("a.b/c", "")), (".x", ("", "x")), ("c.", ("c", ""))],
)
def test_names_are_cut_at_the_last_dot(name, parts):
    assert cut_extension(name) == parts
    assert is_image_file(name) == (parts[1] == "jpg")
