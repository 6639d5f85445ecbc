"""Files that name wnids give classes in the order of labels, each with a name of its own."""

from __future__ import annotations

import pytest

from shardpack.errors import SourceError
from shardpack.sources.layouts.synsets import Synsets, find_synsets
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import write_tree

NAMES = {"n00000002": "b", "n00000001": "a", "n00000003": "a"}


def found_in(folder, files):
    return find_synsets(Tree(scan(write_tree(folder, files), Problems())))


def test_whole_lists_keep_their_order_and_classes():
    classes = Synsets("x", NAMES, whole=True).classes(["n00000001"])
    assert classes == {"n00000002": "b", "n00000001": "a (n00000001)", "n00000003": "a (n00000003)"}
    assert list(classes) == list(NAMES)


def test_names_alone_are_those_of_the_wnids_in_order():
    classes = Synsets("x", NAMES, whole=False).classes(["n00000002", "n00000001"])
    assert list(classes.items()) == [("n00000001", "a"), ("n00000002", "b")]


def test_the_list_of_classes_comes_before_other_names(tmp_path):
    assert found_in(tmp_path, {"a.txt": "x"}) is None
    found = found_in(tmp_path, {"x/words.txt": "n00000001\ta\n\n"})
    assert (found.path, found.names, found.whole) == ("x/words.txt", {"n00000001": "a"}, False)
    found = found_in(tmp_path, {"y/synset_words.txt": "n00000001 a, b\n"})
    assert (found.path, found.names, found.whole) == ("y/synset_words.txt", {"n00000001": "a, b"}, True)


@pytest.mark.parametrize("text", ["[]", '{"0": ["x", "y"]}', '{"1": ["n00000001", "y"]}', '{"0": 1}', "{"])
def test_json_of_another_shape(tmp_path, text):
    if text == "[]":
        assert found_in(tmp_path, {"imagenet_class_index.json": text}).names == {}
        return
    with pytest.raises(SourceError, match=r"imagenet_class_index.json: expected \{\"0\": .*; restore it, or leave it"):
        found_in(tmp_path, {"imagenet_class_index.json": text})
