"""Which files are at a path: what detection of formats looks at."""

from __future__ import annotations

import os
import pickle

import pytest

from shardpack.errors import OptionError, SourceError
from shardpack.sources.formats.found_files import find_files, natural_order
from shardpack.storage.open import open_store


def _fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def test_a_folder_in_natural_order(tmp_path):
    _fill(tmp_path, "b/10.rec", "b/9.rec", "a.rec", ".hidden/x.rec", "b/.y.rec")
    found = find_files(tmp_path)
    assert (found.names, found.is_file) == (("a.rec", "b/9.rec", "b/10.rec"), False)
    assert found.head("a.rec", 3) == b"a.r"
    assert found.matching("*.REC") == []
    assert found.matching("1*.rec", "a*") == ["a.rec", "b/10.rec"]
    assert found.local("a.rec") == os.path.join(os.path.abspath(tmp_path), "a.rec")
    assert pickle.loads(pickle.dumps(found)).head("a.rec") == b"a.rec"


def test_one_file(tmp_path):
    _fill(tmp_path, "a.rec", "b.rec")
    found = find_files(tmp_path / "b.rec")
    assert (found.names, found.is_file, found.head("b.rec")) == (("b.rec",), True, b"b.rec")


def test_a_folder_with_images_has_a_layout_instead(tmp_path):
    _fill(tmp_path, "a.rec", "b/c.JPG")
    assert find_files(tmp_path).names == ()


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="nothing is at"):
        find_files(tmp_path / "missing")


def test_a_bucket():
    store = open_store("memory://found-files/deep")
    store.put("b/x-2.rec", b"two")
    store.put("b/x-10.rec", b"ten")
    found = find_files("memory://found-files/deep")
    assert found.names == ("b/x-2.rec", "b/x-10.rec")
    assert found.head("b/x-2.rec") == b"two"
    one = find_files("memory://found-files/deep/x.rec")
    assert (one.names, one.is_file) == (("x.rec",), True)
    with pytest.raises(OptionError, match="can only be read from a local disk"):
        found.local("b/x-2.rec")


def test_the_version_follows_the_files(tmp_path):
    _fill(tmp_path, "a.rec")
    found = find_files(tmp_path)
    before = found.version_of(found.names)
    assert found.version_of(found.names) == before
    assert found.version_of(found.names, more="options") != before
    os.utime(tmp_path / "a.rec", ns=(1, 1))
    assert found.version_of(found.names) != before


def test_small_files_are_capped(tmp_path):
    _fill(tmp_path, "a.rec")
    assert find_files(tmp_path).read("a.rec", max_bytes=5) == b"a.rec"
    with pytest.raises(SourceError, match="5 bytes, expected at most 4"):
        find_files(tmp_path).read("a.rec", max_bytes=4)


def test_files_that_are_not_read_are_named(tmp_path):
    _fill(tmp_path, "a.rec", "README.md", "b.html", "c.log", "readme.txt")
    found = find_files(tmp_path)
    assert found.others(found.names) == ""
    assert found.others(["a.rec", "b.html", "c.log", "README.md"]) == "; 1 other file is not read: readme.txt"
    assert found.others(["a.rec"]) == "; 4 other files are not read: README.md, b.html, c.log, ..."


def test_files_that_may_hold_labels_are_a_question(tmp_path):
    _fill(tmp_path, "a.rec", "labels.csv", "more/1.txt", "more/2.txt")
    found = find_files(tmp_path)
    words = r"not read: 2 \.txt files such as 'more/1\.txt', 'labels\.csv'; pack without them"
    options = r"\(--ignore '\*\.txt' --ignore labels\.csv; .*\); .*: shardpack relabel OUT labels\.csv$"
    with pytest.raises(SourceError, match=f"{words} {options}"):
        found.others(["a.rec"])
    assert found.ignoring(["*.txt", "*.csv"]).others(["a.rec"]) == ""


def test_only_files_of_a_folder_are_ignored(tmp_path):
    _fill(tmp_path, "a.rec", "b/c.rec")
    assert find_files(tmp_path).ignoring(["b/"]).names == ("a.rec",)
    assert find_files(tmp_path / "a.rec").ignoring([]).names == ("a.rec",)
    with pytest.raises(OptionError, match=r"ignore is for the files of a folder, and .*a\.rec' is one file"):
        find_files(tmp_path / "a.rec").ignoring(["*.csv"])


def test_natural_order_of_any_names():
    assert sorted(["a10", "a9", "10", "9", "", "b"], key=natural_order) == ["", "9", "10", "a9", "a10", "b"]
