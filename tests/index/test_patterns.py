"""Braces and wildcards match what a shell matches."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.index.patterns import Glob, expand_braces, has_wildcards
from tests.conftest import judge
from tests.format.builders import judge_module

PATTERNS = [
    "train-{000000..000003}.tar",
    "{train,val}-{0..2}.tar",
    "{a,b{1..3},c}x{y,z}",
    "{3..1}",
    "{0..10..3}",
    "{10..0..-4}",
    "{01..3}",
    "{1..03}",
    "{-2..2}",
    "{-02..1}",
    "{8..11}",
    "{a..e..2}",
    "{e..a}",
    "{x}",
    "{1..}",
    "{a..1}",
    "}{",
    "{{1..2}",
    "{1..2}}",
    "{,x}y",
    "{{a,b}}",
    "a{b}c{d,e}",
    "{1..2,5}",
    "plain.tar",
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_shell_agrees(pattern):
    shell = subprocess.run(
        [judge("bash"), "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True
    )
    assert expand_braces(pattern) == shell.stdout.split("\n")[:-1]


@given(
    st.integers(0, 200), st.integers(0, 200), st.integers(0, 6), st.integers(0, 6), st.sampled_from(["", "{a,b}", "x"])
)
def test_webdataset_agrees(first, last, width, other_width, tail):
    pattern = f"t-{{{first:0{width}d}..{last:0{other_width}d}}}{tail}.tar"
    assert expand_braces(pattern) == list(judge_module("braceexpand").braceexpand(pattern))


@given(st.text("{},.1a-", max_size=12))
def test_any_text_is_one_name_or_several(text):
    names = expand_braces(text)
    assert names
    if "," not in text and ".." not in text:
        assert names == [text]


def test_a_slip_does_not_fill_the_memory():
    for pattern in ("{0..99999999999}.tar", "{1..9}" * 9):
        with pytest.raises(OptionError, match="stands for more than 1,000,000 names; check its braces"):
            expand_braces(pattern)


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
