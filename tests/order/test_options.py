"""Options of a shuffle: checked, and read as callers write them."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.order.options import Shuffle, as_shuffle


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "all"}, "shuffle is 'all'; choose"),
        ({"block_bytes": 0}, "block_bytes is 0, expected an integer from 1 to"),
        ({"window_blocks": 0}, "window_blocks is 0, expected an integer from 1 to"),
        ({"window_blocks": 2**63}, "window_blocks is 9223372036854775808, expected"),
        ({"window_blocks": 1.5}, "window_blocks is 1.5, expected an integer"),
    ],
)
def test_options_are_checked(options, text):
    with pytest.raises(OptionError, match=text):
        Shuffle(**options)


def test_shorthands():
    assert as_shuffle(True, 7, "4MiB", None, world_size=4) == Shuffle("blocks", 7, 4 << 20, 128)
    assert as_shuffle(False, 7, 1000, 5) == Shuffle("none", 7, 1000, 5)
    assert as_shuffle("shards", 7, 1000, 5).mode == "shards"
