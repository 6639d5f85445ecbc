"""Which tars of edits may have been committed by a manifest that is lost."""

from __future__ import annotations

import pytest

from shardpack.commit.edit_shards import is_edit_shard, maybe_committed

TAR, INDEX = "shard-g000003-0badcafe-000000.tar", ".shardpack/index/shard-g000003-0badcafe-000000.index"
OTHER = "shard-g000003-0000000a-000000.tar"


def table(generation):
    return f".shardpack/shards-{generation:06d}-0badcafe.index"


@pytest.mark.parametrize(
    ("name", "expected"), [(TAR, True), ("shard-000000.tar", False), (OTHER, False), ("x.tar", False)]
)
def test_a_tar_of_an_edit_has_a_tag_and_an_index(name, expected):
    paths = {TAR, INDEX, OTHER, "shard-000000.tar", ".shardpack/index/shard-000000.index"}
    assert is_edit_shard(name, paths) is expected


def spared(generation, *, is_indexed=False):
    files = {table(generation): TAR.encode(), ".shardpack/keys-000003-0badcafe.index": TAR.encode()}
    return maybe_committed({TAR, OTHER}, files, files.get, newest=2, is_indexed=is_indexed)


def test_a_shard_table_behind_the_newest_generation_tells_of_them():
    assert spared(3) == {table(3), TAR, INDEX}
    assert spared(2) == set(), "generation 2 is known, and does not name it"
    assert maybe_committed((), [table(3)], lambda _: b"", newest=2, is_indexed=False) == set()


def test_all_may_be_where_the_sidecars_were_made_of_tars():
    assert spared(2, is_indexed=True) == {TAR, OTHER, INDEX, INDEX.replace("badcafe", "000000a")}
