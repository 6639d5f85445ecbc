"""The most specific layout wins, and two that are equally specific are a question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError, SourceError
from shardpack.sources.layouts import LAYOUTS
from shardpack.sources.layouts.detect import LAYOUT_CHOICES, choose, find_layout
from shardpack.sources.layouts.layout import Found, LayoutOptions
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import IMAGE, files_of, write_tree

found = st.builds(
    Found,
    layout=st.text("abc", min_size=1, max_size=2),
    rank=st.integers(0, 3),
    title=st.just("Title"),
    question=st.sampled_from(["", "", "which column?"]),
)


@given(st.lists(found, unique_by=lambda one: one.layout, max_size=5))
def test_the_most_specific_is_chosen_or_asked_for(candidates):
    highest = [one for one in candidates if one.rank == max(one.rank for one in candidates)]
    if len(highest) == 1 and not highest[0].question:
        assert choose(candidates) is highest[0]
        return
    with pytest.raises(SourceError) as error:
        choose(candidates)
    if len(highest) > 1:
        assert all(f"--layout {one.layout}" in str(error.value) for one in highest)
    elif highest:
        assert str(error.value) == "which column?"


@given(
    st.lists(found, unique_by=lambda one: one.layout, max_size=4).flatmap(
        lambda a: st.tuples(st.just(a), st.permutations(a))
    )
)
def test_the_order_of_layouts_does_not_matter(two):
    def chosen(candidates):
        try:
            return choose(candidates)
        except SourceError as error:
            return sorted(str(error))

    assert chosen(two[0]) == chosen(two[1])


def test_names_of_layouts_are_different_and_known():
    names = [layout.name for layout in LAYOUTS]
    assert len(set(names)) == len(names)
    assert ("auto", *names) == LAYOUT_CHOICES
    with pytest.raises(OptionError, match=r"layout is 'nice'; expected one of auto, "):
        find_layout(Tree(files_of([])), "nice", LayoutOptions(asked=True))


def test_label_files_of_few_images_in_class_folders_are_a_question():
    names = ["cat/1.png", "cat/1.txt", "cat/3.png", "dog/2.png"]
    with pytest.raises(SourceError, match="say which: --layout files or --layout classes"):
        find_layout(Tree(files_of(names)), "auto", LayoutOptions())
    assert find_layout(Tree(files_of(names)), "auto", LayoutOptions(ask=False)).layout == "files"
    throughout = sorted([*names, "dog/2.txt"])
    assert find_layout(Tree(files_of(throughout)), "auto", LayoutOptions()).layout == "files"


@pytest.mark.parametrize(
    ("name", "header", "cells", "asks"),
    [
        ("list_eval_partition.txt", "", " 0", True),
        ("list_eval_partition.csv", "image_id,partition\n", ",0", True),
        ("split.csv", "image_id,split\n", ",train", True),
        ("list_attr.txt", "4\nBald Young\n", " 1 -1", True),
        ("identity_celeba.txt", "", " 28", False),
        ("labels.csv", "image_id,kind,split\n", ",x,train", False),
        ("values.csv", "image_id,weight,height\n", ",1,2", False),
    ],
)
def test_tables_without_classes_beside_class_folders_are_a_question(tmp_path, name, header, cells, asks):
    images = [f"{'ab'[number % 2]}/im{number}.jpg" for number in range(4)]
    rows = "".join(f"{image.partition('/')[2]}{cells}\n" for image in images)
    source = write_tree(tmp_path, {**dict.fromkeys(images, IMAGE), name: header + rows})
    tree = Tree(scan(source, Problems()))
    if asks:
        with pytest.raises(SourceError, match="which says no class, or class folders; say which: --layout table or "):
            find_layout(tree, "auto", LayoutOptions())
    else:
        assert find_layout(tree, "auto", LayoutOptions()).layout == "table"
    assert find_layout(tree, "auto", LayoutOptions(table=source / name, key_column=0)).layout == "table"
    assert find_layout(tree, "table", LayoutOptions(asked=True)).layout == "table"
