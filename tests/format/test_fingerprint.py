"""The fingerprint: a chain that grows with the dataset, the same over shards and over columns."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from shardpack.format.fingerprint import chain, chain_columns, chain_edits, fingerprint_text
from shardpack.format.manifest import DeletedFile, LayerRef, PositionsFile
from shardpack.format.shard_info import ShardInfo
from shardpack.format.shard_table import ShardTable
from tests.format.test_shard_table import Opened, shard_lists

SHARD = ShardInfo("x.tar", 3, 2048, 0xDEADBEEF, 512, 7, {"jpg": 3})


def test_a_link_hashes_five_numbers():
    first = xxhash.xxh3_64_intdigest(struct.pack("<5Q", 0, 3, 2048, 0, 0xDEADBEEF))
    assert chain([SHARD]) == first
    second = xxhash.xxh3_64_intdigest(struct.pack("<5Q", first, 3, 2048, 1, 7))
    assert chain([SHARD, replace(SHARD, crc32c=None)]) == second


def test_deleted_samples_and_layers_continue_it():
    deleted = DeletedFile("x", 112, 10, 2)
    layer = LayerRef("../x", 3, 900, 11, ("txt",), PositionsFile("y", 5, 6))
    first = xxhash.xxh3_64_intdigest(struct.pack("<5Q", 7, 2, 112, 2, 10))
    second = xxhash.xxh3_64_intdigest(struct.pack("<5Q", first, 3, 900, 3, 11))
    assert chain_edits([deleted], [layer], 7) == second
    assert chain_edits([deleted], [], 7) == first
    assert chain_edits([], [], 7) == 7


def test_no_shards_give_zero():
    assert fingerprint_text(chain([])) == "0000000000000000"


@given(shard_lists(max_size=6), st.data())
def test_the_chain_can_be_extended_and_equals_that_of_columns(shards, data):
    cut = data.draw(st.integers(0, len(shards)))
    assert chain(shards[cut:], chain(shards[:cut])) == chain(shards)
    assert chain_columns(ShardTable([Opened(shards).reader]).columns()) == chain(shards)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({"num_samples": 4}, True),
        ({"num_bytes": 2049}, True),
        ({"crc32c": 1}, True),
        ({"crc32c": None}, True),
        ({"name": "y.tar"}, False),
        ({"location": 1}, False),
        ({"index_crc32c": 8}, False),
    ],
)
def test_different_shards_have_different_fingerprints(change, differs):
    assert (chain([replace(SHARD, **change)]) != chain([SHARD])) == differs


def test_the_order_of_shards_matters():
    other = replace(SHARD, num_bytes=4096)
    assert chain([SHARD, other]) != chain([other, SHARD])
