from __future__ import annotations

import math

import pytest

from shardpack.errors import OptionError
from shardpack.runtime.durations import parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [(0, 0), (1.5, 1.5), ("0", 0), ("90", 90), ("90s", 90), ("45m", 2700), (" 12 h ", 43200), ("0.5d", 43200),
     ("7d", 604800), ("2w", 1209600)],
)  # fmt: skip
def test_durations(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1", -1, "7 days", "1e3", "7D", None, True, math.nan, math.inf, "1" * 99])
def test_what_is_not_a_duration(text):
    with pytest.raises(OptionError, match=r"not a duration: .*; write it like 90, 45m, 12h or 7d"):
        parse_seconds(text)
