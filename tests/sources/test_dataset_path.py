"""What names a dataset: a folder with a manifest, or a URL that is not an archive."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.sources.dataset_path import dataset_path


def test_a_folder_is_a_dataset_if_it_has_a_manifest(tmp_path):
    assert dataset_path(tmp_path) is None
    with shardpack.ShardWriter(tmp_path) as writer:
        writer.write("a", {"txt": "1"})
    assert dataset_path(tmp_path) == dataset_path(str(tmp_path)) == dataset_path(tmp_path.as_uri()) == str(tmp_path)


@pytest.mark.parametrize(
    ("source", "path"),
    [
        ("s3://bucket/data", "s3://bucket/data"),
        ("https://host/a.zip", None),
        ("nowhere", None),
        ([("a", {})], None),
        (None, None),
    ],
)
def test_by_its_name(source, path):
    assert dataset_path(source) == path
