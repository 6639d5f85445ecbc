"""Parts: which shards each makes, and what names none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import OptionError
from shardpack.write.part import Part, parse_part


@given(count=st.integers(1, 12), num_shards=st.integers(0, 60))
def test_every_shard_is_in_one_part_and_parts_are_alike(count, num_shards):
    parts = [parse_part(f"{number}/{count}").shards(num_shards) for number in range(1, count + 1)]
    assert sorted(shard for part in parts for shard in part) == list(range(num_shards))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "1/0", "-1/4", "1/4 ", "01/4", "1/4/2", "¹/4", None, (1, 4)])
def test_what_names_no_part_is_refused(text):
    with pytest.raises(OptionError, match='expected "i/n" with i from 1 to n, such as "1/4"'):
        parse_part(text)


def test_a_part_shows_as_it_was_written():
    assert str(parse_part("2/16")) == "2/16" == str(Part(2, 16))
