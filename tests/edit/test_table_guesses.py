"""Which tars a lost segment of the shard table may have listed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.edit.table_guesses import guess_tables
from shardpack.format.layout import index_path
from shardpack.format.manifest import OWN_FOLDER, Manifest
from shardpack.format.manifest_json import parse_manifest
from tests.read.datasets import numbered, write

APPENDED = ["shard-g000002-5f3a9c01-000000.tar", "shard-g000002-5f3a9c01-000001.tar"]
PACKED = ["shard-000000.tar", "shard-000001.tar"]
NAMES = [*APPENDED, *PACKED, "mine.tar", "notes.txt", ".hidden.tar"]


@pytest.fixture
def manifest(tmp_path) -> Manifest:
    write(tmp_path, numbered(1))
    return parse_manifest((tmp_path / ".shardpack/manifest.json").read_bytes())


def guesses(manifest, names, generation, *, packed_with=None, locations=None):
    manifest = replace(
        manifest,
        packed_with=manifest.packed_with if packed_with is None else {"options": packed_with},
        locations=manifest.locations if locations is None else locations,
    )
    return [[tuple(place) for place in places] for places in guess_tables(manifest, names, generation)]


def test_of_a_generation_the_shards_that_it_added(manifest):
    assert guesses(manifest, NAMES, 1) == [[(0, name) for name in PACKED]]
    assert guesses(manifest, NAMES, 2) == [[(0, name) for name in APPENDED]]


def test_where_the_tars_were_indexed_all_by_name(manifest):
    assert guesses(manifest, NAMES, 1, packed_with={"indexed": True})[1:] == [
        [(0, name) for name in sorted([*APPENDED, *PACKED, "mine.tar"])]
    ]


def test_of_a_merged_dataset_its_inputs_in_any_order_or_those_elsewhere(manifest):
    tagged = [f"shard-g000001-0000000{tag}-00000{number}.tar" for tag in "ab" for number in range(2)]
    elsewhere = [index_path("x.tar", 2), index_path("shard-000000.tar", 1), index_path("no.tar", 9)]
    found = guesses(
        manifest,
        [*tagged, *elsewhere],
        1,
        packed_with={"merged": True},
        locations=(OWN_FOLDER, "../a", "../b"),
    )
    a, b = [(0, name) for name in tagged[:2]], [(0, name) for name in tagged[2:]]
    assert found == [[*a, *b], [*a, *b], [*b, *a], [(1, "shard-000000.tar"), (2, "x.tar")]]
