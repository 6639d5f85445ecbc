"""A problem made from an error, and printed as a line."""

from __future__ import annotations

import re

import pytest

from shardpack.errors import CorruptIndexError, CorruptManifestError, ShardNotFoundError, StaleIndexError, StorageError
from shardpack.inspect.problem import KINDS, Problem, problem_of
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (CorruptIndexError, "damaged"),
        (CorruptManifestError, "damaged"),
        (StaleIndexError, "stale"),
        (ShardNotFoundError, "missing"),
        (StorageError, "unreadable"),
    ],
)
def test_an_error_is_a_problem_of_its_file(error, kind):
    found = problem_of(error("it is so; do this", shard="a.tar", key="k", offset=3), "b.tar")
    assert found == Problem(kind, "a.tar", "it is so; do this", "k", 3)
    assert problem_of(error("it is so"), "b.tar").shard == "b.tar"


def test_as_a_line():
    assert str(Problem("damaged", "a.tar", "no", key="k", offset=3)) == "damaged: a.tar, key 'k', offset 3: no"


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("it is so", "it is so"),
        ("it is so; do this", "it is so"),
        ("cannot open 'a; b.tar': I/O error; do this", "cannot open 'a; b.tar': I/O error"),
    ],
)
def test_what_is_wrong_comes_before_what_to_do(message, what):
    assert Problem("damaged", "a.tar", message).what == what


@pytest.mark.parametrize(
    ("kind", "path", "command"),
    [
        ("damaged", "a.tar", "copy"),
        ("missing", ".shardpack/index/a.index", "repair"),
        ("stale", ".shardpack/manifests/000001.json", "repair"),
        ("unreadable", "a.tar", None),
        ("incomplete", "a.tar", "gc"),
        ("orphan", ".shardpack/index/a.index", "gc"),
        ("undecodable", "a.tar", "delete"),
    ],
)
def test_the_mending_command(kind, path, command):
    assert Problem(kind, path, "it is so").command == command


def test_every_kind_is_documented():
    text = (ROOT / "shardpack/inspect/README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text[text.index("| problem |") :], re.MULTILINE)) == set(KINDS)
