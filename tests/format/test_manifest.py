"""The value of a manifest: what it names and counts, and which locations it may name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH
from shardpack.format.manifest import SplitsFile, is_location
from shardpack.format.manifest_json import parse_manifest
from tests.format.builders import small_dataset
from tests.format.test_manifest_json import EDITED, GOOD


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        (".", True),
        ("../tars", True),
        ("/data/tars", True),
        ("s3://bucket", True),
        ("s3://bucket/a b/c", True),
        ("https://host:8080/x/", True),
        ("", False),
        ("a\\b", False),
        ("a\nb", False),
        ("\ud800", False),
        ("x" * 1025, False),
        ("HTTP://x", False),
        ("http://", False),
        ("https://me:pw@host/x", False),
        ("https://host/x?token=1", False),
        ("https://host/x#y", False),
        ("ht tp://x", False),
    ],
)
def test_locations(text, fine):
    assert is_location(text) == fine


def test_a_manifest_names_all_files_but_shards_and_indexes():
    files = small_dataset()
    assert set(parse_manifest(files[MANIFEST_PATH]).metadata_paths) == {*files, REJECTED_PATH}


def test_an_edited_manifest_names_more():
    assert set(EDITED.metadata_paths) - set(replace(GOOD, splits=EDITED.splits).metadata_paths) == {
        ".shardpack/deleted-000002-0000000b.index",
        ".shardpack/layer-000002-0000000c.index",
        ".shardpack/table/000002-0000000d.parquet",
    }
    assert (GOOD.num_deleted, GOOD.num_visible) == (0, 21)
    assert (EDITED.num_deleted, EDITED.num_visible) == (3, 18)
    assert GOOD.fields == ("jpg", "json")
    assert EDITED.fields == ("jpg", "json", "txt")


def test_splits_count_what_fell_into_them():
    assert EDITED.splits.totals == {"train": 18, "val": 0}
    assert GOOD.splits.totals == {"train": 18, "val": 2}
    assert SplitsFile("x", 1, 1, {"a": 1}).totals == {"a": 1}
