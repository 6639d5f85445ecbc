"""Names of files in archives: none leads out, none is taken two ways."""

from __future__ import annotations

import pytest

from shardpack.sources.archives.names import (
    is_hidden,
    problem_of,
    repeated,
    with_slashes,
    without_dot,
    wrapping_folder,
)


@pytest.mark.parametrize("name", ["a.jpg", "cat/a.jpg", "ä ö/…jpg", "a..b/c", "...", "~/a", "cat:1.jpg"])
def test_plain_names(name):
    assert problem_of(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "absolute"),
        ("C:/a.jpg", "absolute"),
        ("c:a.jpg", "absolute"),
        ("../a.jpg", "leads out"),
        ("a/../../b", "leads out"),
        ("a/..", "leads out"),
        ("a//b", "empty parts"),
        ("a/", "empty parts"),
        ("", "empty parts"),
        ("a/./b", "empty parts"),
        ("a\\b", "backslash"),
        ("a\0.jpg", "control"),
        ("a\n.jpg", "control"),
    ],
)
def test_refused_names(name, reason):
    assert reason in problem_of(name)


@pytest.mark.parametrize("name", [".DS_Store", "a/.git/config", "__MACOSX/a.jpg", "a/Thumbs.db", "._a.jpg"])
def test_hidden_names(name):
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["a.jpg", "a/b.c", "my__MACOSX/a", "Thumbs.db.jpg"])
def test_names_that_are_not_hidden(name):
    assert not is_hidden(name)


def test_backslashes_are_slashes_where_nothing_else_is():
    assert with_slashes(["a\\b.jpg", "c.jpg"]) == ["a/b.jpg", "c.jpg"]
    assert with_slashes(["a\\b.jpg", "c/d.jpg"]) == ["a\\b.jpg", "c/d.jpg"]


def test_a_dot_in_front_is_dropped():
    assert without_dot("././a/./b") == "a/./b"


def test_repeated_names():
    assert repeated(["a", "b", "a"]) == {"a": 2}
    assert repeated(["a", "b"]) == {}


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (["data/cat/1.jpg", "data/dog/2.jpg"], "data/"),
        (["data/cat/1.jpg", "data/labels.csv"], "data/"),
        (["images/cat/1.jpg"], "images/"),
        (["cat/1.jpg", "cat/deep/2.jpg"], ""),
        (["train/cat/1.jpg"], ""),
        (["Test/cat/1.jpg"], ""),
        (["data/cat/1.jpg", "readme.txt"], ""),
        (["data/cat/1.jpg", "data2/cat/1.jpg"], ""),
        (["1.jpg"], ""),
        ([], ""),
    ],
)
def test_the_folder_around_everything(names, folder):
    assert wrapping_folder(names) == folder
