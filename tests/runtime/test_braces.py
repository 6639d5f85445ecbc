"""Braces stand for the names that a shell makes of them."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.runtime.braces import expand_braces
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
