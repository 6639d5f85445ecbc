"""Files of archives as a tree: names checked, in the order of a folder's, each with its range."""

from __future__ import annotations

from array import array
from pathlib import Path

import pytest

from shardpack.errors import SourceError
from shardpack.sources.archives.members import Members, Ranges, checked, tree_of
from shardpack.sources.image_files import group_files
from shardpack.sources.payloads import read_listed
from shardpack.sources.scan import scan
from shardpack.sources.source import Problems
from shardpack.storage.memory import MemoryStore
from tests.sources.trees import write_tree

CONTENT = bytes(range(100))
STORE = MemoryStore({"x.tar": CONTENT})


def _members(*names):
    return Members(list(names), array("q", [10] * len(names)), Ranges(0, "x.tar", range(len(names))))


def test_names_are_below_the_folder_of_the_archive():
    assert checked(_members("a.jpg", "b/c.jpg"), "train/", Problems()).names == ["train/a.jpg", "train/b/c.jpg"]
    assert checked(_members("train/a.jpg", "train/c.jpg"), "train/", Problems()).names == [
        "train/a.jpg",
        "train/c.jpg",
    ]
    assert checked(_members("x/a/b.jpg"), "train/", Problems()).names == ["train/a/b.jpg"]


def test_what_may_not_be_in_a_tree_is_reported():
    members, problems = _members("a", "../b", "c", "c", "__MACOSX/d"), Problems()
    members.refused.append(("e", "it is encrypted"))
    members.left_out.append(("f", "a link in an archive"))
    assert checked(members, "x/", problems).names == ["x/a"]
    assert [name for name, _ in problems.rejected] == ["x/c", "x/../b", "x/e"]
    assert problems.rejected[0][1] == "the archive has 2 files of this name; make the archive again"
    assert problems.left_out == {"hidden": 1, "a link in an archive": 1}


def test_a_tree_has_the_order_of_a_folder(tmp_path):
    names = ["b.jpg", "a/z.jpg", "a.jpg", "a/b/c.jpg", "a/a.jpg", "a.json", "a-b/x.jpg"]
    tree = tree_of("x.tar", _members(*names), (STORE,), "1")
    folders = [folder.path for folder in tree.folders.values()]
    assert len(folders) == len(set(folders)) == 4
    scanned = scan(write_tree(tmp_path, names), Problems())
    assert sorted(tree.files.names) == sorted(scanned.names)
    ours, folder = group_files(tree.files, Problems()), group_files(scanned, Problems())
    assert (ours.keys, ours.fields) == (folder.keys, folder.fields)


def test_payloads_are_ranges_of_the_archive_or_files_beside_it(tmp_path):
    write_tree(tmp_path, {"beside.jpg": b"beside", "labels.csv": b"a,b"})
    tree = tree_of(str(tmp_path), _members("x/a.jpg"), (STORE,), "version 1", scan(tmp_path, Problems()))
    listing = tree.contents.locate(group_files(tree.files, Problems()))
    assert read_listed(listing, 0, 2) == [("beside", {"jpg": b"beside"}), ("x/a", {"jpg": CONTENT[:10]})]
    assert listing.version == "version 1"
    assert tree.read("labels.csv") == b"a,b"
    assert tree.read("x/a.jpg") == CONTENT[:10]


def test_an_archive_without_files_has_files_beside_it(tmp_path):
    write_tree(tmp_path, {"beside.jpg": b"beside"})
    tree = tree_of(str(tmp_path), _members(), (STORE,), "", scan(tmp_path, Problems()))
    listing = tree.contents.locate(group_files(tree.files, Problems()))
    assert read_listed(listing, 0, 1) == [("beside", {"jpg": b"beside"})]


def test_reading_is_bounded_and_names_the_file():
    members = _members("a.csv")
    members.sizes = array("q", [1 << 40])
    tree = tree_of("x.tar", members, (STORE,), "")
    with pytest.raises(SourceError, match=r"a\.csv has 1,099,511,627,776 bytes, expected at most 100"):
        tree.read("a.csv", max_bytes=100)
    with pytest.raises(SourceError, match=r"cannot read 'a\.csv': file is truncated"):
        tree.read("a.csv", max_bytes=1 << 41)
    with pytest.raises(SourceError, match=r"no file 'b\.csv' in the archive"):
        tree.read("b.csv")


def test_files_of_the_tree_have_no_paths_of_their_own():
    tree = tree_of("x.tar", _members("a.jpg"), (STORE,), "")
    assert not Path(tree.files.root, "a.jpg").exists()
