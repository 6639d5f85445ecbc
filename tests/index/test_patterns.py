"""Wildcards match what a shell matches."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.index.patterns import Glob, has_wildcards
from tests.conftest import judge

TREE = [
    "a.tar",
    "b.tar",
    "ab.tar",
    ".hidden.tar",
    "x/a.tar",
    "x/.b.tar",
    "x/y/a.tar",
    ".git/a.tar",
    "x/.z/c.tar",
    "[a].tar",
]
GLOBS = [
    "*.tar",
    "?.tar",
    "[ab].tar",
    "[!a].tar",
    "*/*.tar",
    "**/*.tar",
    "x/**/*.tar",
    "x/*/a.tar",
    "**/a.tar",
]
GLOBS += [".*.tar", "*/.*.tar", "[[]a].tar", "x/**/y/*.tar", "[a-b]?.tar", "**/.z/*.tar", "*", "[]a].tar"]


@pytest.mark.parametrize("pattern", GLOBS)
def test_the_shell_agrees_on_wildcards(pattern, tmp_path):
    for name in TREE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    command = (
        f'shopt -s globstar nullglob; for name in {pattern}; do [ -f "$name" ] && printf \'%s\\n\' "$name"; done; :'
    )
    shell = subprocess.run(
        [judge("bash"), "-c", command], capture_output=True, text=True, check=True, cwd=tmp_path, env={"LC_ALL": "C"}
    )
    glob = Glob(pattern)
    below = [name[len(glob.folder) + 1 if glob.folder else 0 :] for name in TREE if name.startswith(glob.folder)]
    found = [f"{glob.folder}/{name}".lstrip("/") for name in below if glob.matches(name)]
    assert sorted(found) == sorted(shell.stdout.split("\n")[:-1])
    for name in filter(glob.matches, below):
        folders = name.split("/")[:-1]
        assert all(glob.may_hold("/".join(folders[: depth + 1])) for depth in range(len(folders))), name


@pytest.mark.parametrize(
    ("pattern", "folder", "no"),
    [
        ("/data/*/x-?.tar", "/data", ["a/b"]),
        ("/*.tar", "/", ["a"]),
        ("*.tar", "", ["a"]),
        ("a/b/c.tar", "a/b", ["d"]),
        ("a/b*/c/**/*.tar", "a", ["c", "b/d", "b/c/.git", "b/c/d/.git/e"]),
    ],
)
def test_what_is_not_worth_listing(pattern, folder, no):
    glob = Glob(pattern)
    assert glob.folder == folder
    assert not any(map(glob.may_hold, no))


def test_wildcards_are_told_from_names():
    assert [has_wildcards(text) for text in ("a*", "a?", "[a", "a{b,c}", "a].tar")] == [True, True, True, False, False]


@given(st.text("ab/.*?[]!^-\\&~|", max_size=10), st.text("ab/.-", max_size=8))
def test_any_text_is_a_pattern(pattern, name):
    Glob(pattern).matches(name)
