"""Which names a shard may have (SPEC 6.2)."""

from __future__ import annotations

import pytest

from shardpack.format.shard_info import ShardInfo, is_shard_name, repeated_name


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


def test_a_shard_knows_the_path_of_its_index():
    assert ShardInfo("x.tar", 1, 1, 1, 1, 1, {}, location=2).index_path == ".shardpack/index/2/x.index"


def test_two_shards_with_one_index():
    def shard(name, location=0):
        return ShardInfo(name, 1, 1024, 1, 100, 2, {"jpg": 1}, location)

    assert repeated_name([]) is None
    assert repeated_name([shard("a.tar"), shard("b.tar"), shard("a.tar", 1)]) is None
    assert repeated_name([shard("a.tar"), shard("b.tar"), shard("a"), shard("b")]) == "a"
