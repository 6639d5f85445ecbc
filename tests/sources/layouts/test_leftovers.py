"""Every file of any tree is in a sample, understood by its layout, ignored, or named."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.sources.layouts.detect import read_tree
from shardpack.sources.layouts.layout import Found, LayoutOptions
from shardpack.sources.layouts.leftovers import ask_about_labels, ignore_files, leave_out, leftovers
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, listing_of, write_tree

components = st.sampled_from(["a", "b", "cat", "train", "val", "images", "3f"])
lasts = st.tuples(
    st.sampled_from(["1", "2", "3fa0c1", "v.1", "labels", "README"]),
    st.sampled_from(["", ".jpg", ".PNG", ".json", ".txt", ".seg.png", ".md", ".csv", ".cache"]),
).map("".join)
trees = st.lists(
    st.tuples(st.lists(components, max_size=3), lasts).map(lambda parts: "/".join([*parts[0], parts[1]])),
    max_size=10,
    unique=True,
)


@given(trees, st.sampled_from(["files", "classes"]), st.booleans(), st.sampled_from([(), ("*.txt",), ("a/", "b/*")]))
def test_no_file_is_lost_in_silence(names, layout, rename_keys, ignore):
    problems, listed = Problems(), None
    options = LayoutOptions(asked=True, rename_keys=rename_keys, ignore=ignore)
    with suppress(SourceError):  # the question about labels
        listed = read_tree(Tree(files_of(names)), layout, problems, options)
    if listed is None:
        return
    packed = {payload for payload in listed.listing.payload if isinstance(payload, str)}
    named = set(problems.left_out_names) | {name for name, _ in problems.rejected}
    stems = {name.rpartition(".")[0] for name in named}
    for name in names:
        goes_with_another = any(name.startswith(f"{stem}.") for stem in stems if stem)
        assert (name in packed) + (name in named) == 1 or (goes_with_another and name not in packed)
    assert sum(problems.left_out.values()) == len(problems.left_out_names)


@given(trees)
def test_what_is_understood_or_packed_is_not_named(names):
    tree = Tree(files_of(names))
    listing = listing_of({})
    assert leftovers(tree, listing, Found(layout="x", rank=0, title="X"), Problems()) == tree.files.names
    everything = Found(layout="x", rank=0, title="X", uses=frozenset(names))
    assert leftovers(tree, listing, everything, Problems()) == []


def test_the_files_of_a_sample_that_is_rejected_are_named_with_it():
    problems = Problems()
    problems.reject("a/v.1.jpg", "a dot")
    tree = Tree(files_of(["a/v.1.jpg", "a/v.1.json", "a/v.1.seg.png", "a/v.2.json", "a/w.json"]))
    found = Found(layout="x", rank=0, title="X")
    assert leftovers(tree, listing_of({}), found, problems) == ["a/v.2.json", "a/w.json"]


@pytest.mark.parametrize(
    ("pattern", "ignored"),
    [
        ("*.csv", ["a.csv", "x/a.csv", "x/y/b.csv"]),
        ("a.*", ["a.csv", "x/a.csv", "x/a.jpg"]),
        ("x/*.csv", ["x/a.csv", "x/y/b.csv"]),
        ("x/", ["x/a.csv", "x/a.jpg", "x/y/b.csv"]),
        ("y/", ["x/y/b.csv"]),
        ("?.jpg", ["x/a.jpg"]),
        ("[", []),
    ],
)
def test_patterns(pattern, ignored):
    tree, problems = Tree(files_of(["a.csv", "x/a.csv", "x/a.jpg", "x/y/b.csv"])), Problems()
    left = ignore_files(tree, [pattern], problems)
    assert problems.left_out_names == ignored
    assert problems.without_match == ([] if ignored else [pattern])
    assert sorted([*left.files.names, *ignored]) == sorted(tree.files.names)


@pytest.mark.parametrize("pattern", ["", "/"])
def test_a_pattern_of_nothing(pattern):
    with pytest.raises(OptionError, match=r"ignore has the pattern '/?'; expected patterns such as '\*.csv'"):
        ignore_files(Tree(files_of(["a"])), [pattern], Problems())


@pytest.mark.parametrize("name", ["README.txt", "x/ReadMe.json", "LICENSE.txt", "licence.xml", "a.cache", ".x.csv"])
def test_some_files_hold_no_labels(name):
    ask_about_labels([name, "photo.jpg", "movie.mp4", "Makefile"], "files", layouts=())


def test_the_question_counts_kinds_and_names_the_first_of_each():
    names = ["a/1.txt", "a/2.txt", "a/3.txt", "b.csv", "c.json", "d.yaml", "e.xml", "f.xml"]
    with pytest.raises(SourceError) as error:
        ask_about_labels(names, "classes", layouts=["yolo", "table"])
    assert str(error.value) == (
        "files that may hold labels are in no sample of the layout 'classes': 3 .txt files such as 'a/1.txt', 2 .xml "
        "files such as 'e.xml', 'b.csv', and 2 more; use them (--table b.csv), or pack without them (--ignore '*.txt' "
        "--ignore '*.xml' --ignore b.csv --ignore c.json --ignore d.yaml; in Python ignore=[...])"
    )


@pytest.mark.parametrize(("layouts", "using"), [(["yolo"], "--layout yolo"), (["coco"], "--layout files")])
def test_only_layouts_that_exist_are_offered(layouts, using):
    with pytest.raises(SourceError, match=rf"use them \({using}\)"):
        ask_about_labels(["data.yaml"], "classes", layouts=layouts)


def test_left_out_files_are_counted_by_kind():
    problems = Problems()
    leave_out(["a.md", "b.MD", "Makefile"], problems)
    assert problems.left_out == {"not in a sample, .md": 2, "not in a sample": 1}


def test_no_pattern_of_the_question_removes_files_that_are_in_use(tmp_path):
    write_tree(tmp_path, [f"im{number}.jpg" for number in range(4)])
    rows = "".join(f"im{number}.jpg,{'xy'[number % 2]}\n" for number in range(4))
    write_tree(tmp_path, {"labels.csv": f"file,label\n{rows}", "info1.csv": "a,b\n1,2\n", "info 2.csv": "a,b\n1,2\n"})
    tree = Tree(scan(tmp_path, Problems()))
    with pytest.raises(SourceError, match=r"2 \.csv files .* \(--ignore 'info 2\.csv' --ignore info1\.csv; in Python"):
        read_tree(tree, "auto", Problems(), LayoutOptions())
    read_tree(tree, "auto", Problems(), LayoutOptions(ignore=["info 2.csv", "info1.csv"]))
    names = [f"{number}.csv" for number in range(9)]
    with pytest.raises(SourceError, match=r"\(--ignore 0\.csv --ignore 1\.csv --ignore 2\.csv \.\.\.; in Python"):
        ask_about_labels(names, "table", layouts=(), kept=["labels.csv"])
