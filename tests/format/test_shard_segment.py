"""One segment of the shard table: what a look-up reads; tests/format/test_shard_table.py goes through the rest."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.errors import CorruptIndexError
from tests.format.test_shard_table import Opened, plain


def test_a_page_is_read_once():
    opened = Opened([plain(number) for number in range(20_000)])
    for number in (12_300, 12_301, 12_399):
        assert opened.reader.shard(number) == plain(number)
    assert len(opened.loads) == 2


def test_cached_pages_are_not_needed():
    opened = Opened([plain(number) for number in range(100)])
    opened.reader.locate(5)
    assert opened.reader.needed(np.array([5, 999])) == []


def test_a_segment_cut_short_is_an_error():
    opened = Opened([plain(number) for number in range(20_000)])
    opened.data = opened.data[:-100_000]
    assert opened.reader.shard(0) == plain(0)
    with pytest.raises(CorruptIndexError, match="cut short"):
        opened.reader.shard(19_999)
