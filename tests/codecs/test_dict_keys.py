"""Dicts are found wherever they are in a value."""

from __future__ import annotations

from shardpack.codecs.dict_keys import dict_keys


def test_dicts_inside_dicts_lists_and_tuples():
    value = {"a": [1, ({"b": {"c": 2}},)], 3: "text", "d": {}}
    assert sorted(map(repr, map(list, dict_keys(value)))) == ["['a', 3, 'd']", "['b']", "['c']", "[]"]
    assert not list(dict_keys("text"))
    assert not list(dict_keys([1, 2.5, None]))
