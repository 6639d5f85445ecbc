"""Runs of numbered names as brace patterns, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.export.indexes.brace_names import collapse
from shardpack.runtime.braces import expand_braces
from tests.strategies import examples


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        ([], []),
        (["shard-000000.tar"], ["shard-000000.tar"]),
        (["a-0.tar", "a-1.tar", "a-2.tar"], ["a-{0..2}.tar"]),
        (["a-9.tar", "a-10.tar"], ["a-9.tar", "a-10.tar"]),
        (["s-000012-00.tar", "s-000013-00.tar"], ["s-{000012..000013}-00.tar"]),
        (["s-0-00.tar", "s-0-01.tar", "s-1-00.tar"], ["s-0-{00..01}.tar", "s-1-00.tar"]),
        (["b-1.tar", "b-0.tar", "x.tar"], ["b-1.tar", "b-0.tar", "x.tar"]),
    ],
)
def test_runs_become_one_pattern(names, patterns):
    assert collapse(names) == patterns


@examples(50)
@given(st.lists(st.from_regex(r"\A(?:[ab]|-|[0-9]{1,3}){1,5}\Z"), max_size=12))
def test_patterns_expand_to_the_same_names_in_order(names):
    assert [name for pattern in collapse(names) for name in expand_braces(pattern)] == names


def test_names_with_braces_are_refused():
    with pytest.raises(OptionError, match=r"cannot hold the name 'a\{1\}.tar'; rename"):
        collapse(["a{1}.tar"])
