"""Fractions as people write them, and which names splits may have."""

from __future__ import annotations

from fractions import Fraction

import pytest

from shardpack.edit.split_numbers import check_names, listed_keys, parse_fractions
from shardpack.errors import OptionError, SourceError


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        ({"train": 0.9, "val": 0.1}, ["9/10", "1/10"]),
        ({"train": "0.9", "val": "1/10"}, ["9/10", "1/10"]),
        ({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, ["1/3", "1/3", "1/3"]),
        ({"val": 0.1}, ["1/10"]),
        ({"all": 1}, ["1"]),
        ({"a": Fraction(1, 7), "b": "2e-1"}, ["1/7", "1/5"]),
    ],
)
def test_fractions_are_what_was_written(given, exact):
    assert parse_fractions(given) == dict(zip(given, map(Fraction, exact), strict=True))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "fraction is {}; expected a dict"),
        (0.5, "fraction is 0.5; expected a dict"),
        ({"a": 0.9, "b": 0.2}, "add up to 1.1, expected at most 1"),
        *[
            ({"a": value}, "the fraction of 'a' is")
            for value in (0, -0.1, 1.5, "x", "1/0", True, None, float("nan"), 90)
        ],
        ({"shard": 1}, "cannot be called 'shard'"),
        ({"a": 0.1, "A": 0.1}, "differ in case only"),
        ({3: 0.1}, "the name of a split is 3"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, message):
    with pytest.raises(OptionError, match=message):
        parse_fractions(given)


def test_names_together():
    check_names(["train", "val", "x_1"])
    with pytest.raises(OptionError, match="cannot be called 'train-1'"):
        check_names(["train-1"])


def test_lists_are_files_or_texts(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa/1\r\n\r\na/2\nb \n")
    assert (
        listed_keys("val", tmp_path / "a.txt") == ["a/1", "a/2", "b "] == listed_keys("val", iter(["a/1", "a/2", "b "]))
    )
    with pytest.raises(SourceError, match=r"cannot read .*gone\.txt': No such file"):
        listed_keys("val", str(tmp_path / "gone.txt"))
    with pytest.raises(OptionError, match="a key of split 'val' is 3"):
        listed_keys("val", [3])
