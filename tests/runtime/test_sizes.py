"""Sizes as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.runtime.sizes import format_bytes, parse_bytes

POWERS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12, "pb": 10**15}
POWERS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "pib": 2**50}


@given(st.integers())
def test_numbers_are_bytes(number):
    assert parse_bytes(number) == number


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.sampled_from(sorted(POWERS)), st.sampled_from(["", " "]))
def test_text_is_exact(whole, decimals, unit, space):
    text = f"{whole}.{decimals}{space}{unit.upper()}"
    exact = Fraction(f"{whole}.{decimals}") * POWERS[unit]
    if exact.denominator == 1:
        assert parse_bytes(text) == exact
    else:
        with pytest.raises(OptionError, match="not a whole number of bytes"):
            parse_bytes(text)


@pytest.mark.parametrize(
    ("size", "number"),
    [
        ("4096", 4096),
        ("256MiB", 256 << 20),
        ("1GB", 10**9),
        (" 1 gb ", 10**9),
        ("1.5KiB", 1536),
        ("1.005KB", 1005),  # 1004.9999999999999 in floating point
        ("4.35GB", 4_350_000_000),
        (np.int64(5), 5),
    ],
)
def test_examples(size, number):
    assert parse_bytes(size) == number
    assert type(parse_bytes(size)) is int


NO_SIZES = ["", "MiB", "1.", ".5KB", "-1", "1e3", "5 XB", "1K", "٣", "1 2", 1.5, None, True, b"1"]


@pytest.mark.parametrize("size", NO_SIZES)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(OptionError, match=re.escape(f"not a size: {size!r}; write it like 4096, 1GB or 256MiB")):
        parse_bytes(size)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1023.9, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 1, "1.0 MiB"),
        (256 << 20, "256.0 MiB"),
        (5 << 60, "5120.0 PiB"),
    ],
)
def test_sizes_are_shown_short(number, text):
    assert format_bytes(number) == text


@given(st.integers(0, 1000 << 50))
def test_what_is_shown_is_near(number):
    text, unit = format_bytes(number).split()
    shown = float(text) * POWERS[unit.lower()]
    assert abs(shown - number) <= 0.0501 * POWERS[unit.lower()]
    assert float(text) < 1024
