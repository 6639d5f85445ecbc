"""Names of splits: what a shard's name can begin with, and the order in which splits are packed."""

from __future__ import annotations

import pytest

from shardpack.format.split_names import in_split_order, is_split_name, split_names_problem


@pytest.mark.parametrize(
    "name",
    [
        "train",
        "val",
        "a",
        "train2017",
        "test_A",
        "dev-clean",
        "2017",
        "A-b-c",
        "g000002",
        "a-g1",
        "a-g000002-5f3a9c01-b",
        "x" * 64,
    ],
)
def test_allowed(name):
    assert is_split_name(name)
    assert split_names_problem([name]) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "a.b",
        "a/b",
        "..",
        "-a",
        "a-",
        "a--b",
        "train-2017",
        "a-g000002",
        "a-g000002-5f3a9c01",
        "a-0",
        "train\n",
        "é",
        "shard",
        "Shard",
        "x" * 65,
        "{a}",
    ],
)
def test_refused_with_what_is_expected(name):
    assert not is_split_name(name)
    problem = split_names_problem(["train", name])
    assert repr(name) in problem
    assert problem.endswith("rename it")


def test_names_that_differ_in_case_only_and_too_many_are_refused():
    assert "'Train' and 'train'" in split_names_problem(["Train", "train"])
    assert split_names_problem([f"s{i}" for i in range(1024)]) is None
    assert "1,025 splits" in split_names_problem([f"s{i}" for i in range(1025)])


def test_order():
    assert in_split_order(["b", "test", "a", "validation", "train", "val"]) == [
        "train", "val", "validation", "test", "a", "b",
    ]  # fmt: skip
    assert in_split_order([]) == []
