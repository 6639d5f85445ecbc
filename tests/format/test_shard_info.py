"""Which names a shard may have (SPEC 6.2)."""

from __future__ import annotations

import pytest

from shardpack.format.shard_info import ShardInfo, index_name, is_shard_name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "/x", "x/", "a//b", "a/../b", "a/./b", "C:x", "a\\b", "a\0b", "a\nb", "x.", "x ", "a /b",
     "\x7f", "\ud800", "x" * 1025],
)  # fmt: skip
def test_names_that_could_lead_outside_are_no_shard_names(name):
    assert not is_shard_name(name)


@pytest.mark.parametrize("name", ["x", "shard-000000.tar", "a/b/c.tar", "..x", ".hidden", "é.tar", "a b", "x" * 1024])
def test_other_names_are(name):
    assert is_shard_name(name)


def test_the_name_of_the_index():
    assert (index_name("a/x.tar"), index_name("x.tgz")) == ("a/x.index", "x.tgz.index")
    assert ShardInfo("x.tar", 1, 1, 1, 1, 1, {}).index_name == "x.index"
