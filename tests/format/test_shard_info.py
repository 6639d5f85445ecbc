"""Which names a shard may have (SPEC 6.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.shard_info import ShardInfo, index_path, is_shard_name, repeated_name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/x", "x/", "a//b", "a/../b", "a/./b", "C:x", "a\\b", "a\0b", "a\nb", "x.", "x ", "a /b",
     "\x7f", "\ud800", "x" * 1025, ".shardpack/x.tar", ".ShardPack/x", ".shardpack"],
)  # fmt: skip
def test_names_that_could_lead_outside_are_refused(name):
    assert not is_shard_name(name)


@pytest.mark.parametrize(
    "name", ["x", "shard-000000.tar", "a/b/c.tar", "..x", ".hidden", "é.tar", "a b", ".shardpack2/x", "x" * 1024]
)
def test_other_names_are_accepted(name):
    assert is_shard_name(name)


def test_the_path_of_the_index():
    assert index_path("shard-000000.tar") == ".shardpack/index/shard-000000.index"
    assert index_path("a/x.tgz") == ".shardpack/index/a/x.tgz.index"
    assert index_path("x.tar", 2) == ".shardpack/index/2/x.index"
    assert index_path("2/x.tar") == ".shardpack/index/0/2/x.index"
    assert index_path("2.tar") == ".shardpack/index/2.index"


@given(st.lists(st.tuples(st.sampled_from(["x", "1/x", "0/1/x", "0/x", "1/1/x", "a/1/x", "²/x"]), st.integers(0, 2))))
def test_no_two_shards_share_an_index(shards):
    assert len({index_path(*shard) for shard in shards}) == len(set(shards))


def test_a_shard_knows_the_path_of_its_index():
    assert ShardInfo("x.tar", 1, 1, 1, 1, 1, {}, location=2).index_path == ".shardpack/index/2/x.index"


def test_two_shards_with_one_index():
    def shard(name, location=0):
        return ShardInfo(name, 1, 1024, 1, 100, 2, {"jpg": 1}, location)

    assert repeated_name([]) is None
    assert repeated_name([shard("a.tar"), shard("b.tar"), shard("a.tar", 1)]) is None
    assert repeated_name([shard("a.tar"), shard("b.tar"), shard("a"), shard("b")]) == "a"
