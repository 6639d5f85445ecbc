"""Rates as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.runtime.rates import format_rate, parse_rate


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1Gbit", 125e6),
        ("1 gbit/s", 125e6),
        ("25Gbps", 3.125e9),
        ("2GB/s", 2e9),
        ("1.5MiB/s", 1.5 * 2**20),
        ("300kB", 3e5),
        ("64B/s", 64),
        ("8bit", 1),
    ],
)
def test_rates(text, expected):
    assert parse_rate(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "2", "2G", "-1GB/s", "0GB/s", "1GB/h", "1e3MB", "1 G B", "GB/s"])
def test_what_is_no_rate(text):
    with pytest.raises(OptionError, match="write it like"):
        parse_rate(text)


@given(st.floats(1, 9.9e14))
def test_what_is_shown_can_be_read(rate):
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=0.01)
