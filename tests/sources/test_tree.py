"""A tree counts its files by folder, and reads its label files and those that the user names, never too large ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import SourceError
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.sources.tree import Tree
from tests.sources.trees import files_of, listing_of, write_tree

parts = st.text("abA.", min_size=1, max_size=4).filter(lambda part: part.strip("."))
names = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=12, unique=True)


@given(names)
def test_every_file_is_counted_in_its_folder(names):
    tree = Tree(files_of(names))
    covered = [name for folder in tree.folders.values() for name in tree.files.names[folder.first : folder.stop]]
    assert covered == tree.files.names
    for path, folder in tree.folders.items():
        own = tree.files.names[folder.first : folder.stop]
        assert folder.path == path
        assert {name.rpartition("/")[0] for name in own} == {path}
        last = [name.rpartition("/")[2] for name in own]
        extensions = [name.rpartition(".")[2].lower() if "." in name else "" for name in last]
        assert folder.extensions == {extension: extensions.count(extension) for extension in extensions}


def test_images_of_a_folder():
    folders = Tree(files_of(["a/1.jpg", "a/2.PNG", "a/3.txt", "a/jpg", "b/c/1.jpg", "x.csv"])).folders
    assert {path: folder.num_images for path, folder in folders.items()} == {"": 0, "a": 2, "b/c": 1}


def test_label_files_are_read_up_to_a_limit(tmp_path):
    write_tree(tmp_path, {"a/labels.csv": "12345"})
    tree = Tree(scan(tmp_path, Problems()))
    assert tree.read("a/labels.csv") == tree.read("a/labels.csv", max_bytes=5) == b"12345"
    with pytest.raises(SourceError, match=r"a/labels.csv has 5 bytes, expected at most 4; split it"):
        tree.read("a/labels.csv", max_bytes=4)
    with pytest.raises(SourceError, match=r"cannot read 'b.csv': No such file or directory; make it readable"):
        tree.read("b.csv")


def test_a_named_file_is_found_from_here_or_in_the_tree(tmp_path, monkeypatch):
    write_tree(tmp_path / "source", {"a/in.csv": "in"})
    write_tree(tmp_path, {"out.csv": "out"})
    monkeypatch.chdir(tmp_path)
    tree = Tree(scan("source", Problems()))
    assert tree.read_given("a/in.csv") == tree.read_given("source/a/in.csv") == ("a/in.csv", b"in")
    assert tree.read_given(tmp_path / "source" / "a" / "in.csv") == ("a/in.csv", b"in")
    assert tree.read_given("out.csv") == (None, b"out")
    with pytest.raises(SourceError, match=r"cannot read 'missing.csv': No such file or directory"):
        tree.read_given("missing.csv")


def test_without_files_and_payloads_of_a_folder_stay():
    tree = Tree(files_of(["a.jpg", "b.jpg"]))
    assert tree.without({"a.jpg"}).files.names == ["b.jpg"]
    listing = listing_of(["a"])
    assert tree.contents.locate(listing) is listing


@given(names)
def test_every_file_is_found_by_its_name(names):
    tree = Tree(files_of(names))
    assert [tree.number(name) for name in tree.files.names] == list(range(len(tree.files.names)))
    assert not any(tree.has(f"{name}/x") or tree.has(f"{name} ") for name in names)
