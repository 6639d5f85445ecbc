"""Which files belong to a manifest."""

from __future__ import annotations

import pytest

from shardpack.errors import CorruptIndexError
from shardpack.format.dataset_files import REJECTED_PATH, generation_of, metadata_paths, whole_table
from shardpack.format.manifest import FILE_NAME, parse_manifest
from tests.format.builders import small_dataset


def test_a_manifest_names_all_files_but_shards_and_indexes():
    files = small_dataset()
    assert set(metadata_paths(parse_manifest(files[FILE_NAME]))) == {*files, REJECTED_PATH}


@pytest.mark.parametrize(
    ("path", "generation"),
    [
        (".shardpack/manifests/000003.json", 3),
        (".shardpack/shards-000012-0badcafe.index", 12),
        (".shardpack/keys-1000000-0badcafe.index", 1_000_000),
        (".shardpack/manifest.json", 0),
        (".shardpack/keys-000001-0badcafe.index.tmp", 0),
        (".shardpack/index/keys-000001-0badcafe.index", 0),
        ("shard-000001.tar", 0),
    ],
)
def test_the_generation_of_a_file(path, generation):
    assert generation_of(path) == generation


def test_whole_table_reads_whole_files():
    files = small_dataset(3)
    whole = parse_manifest(files[FILE_NAME])
    assert [whole_table(whole, files.get).shard(n).name for n in range(3)] == [f"shard-{n:06d}.tar" for n in range(3)]
    for damage in (lambda data: data[:-1], lambda data: data[:-1] + b"?", lambda _: None):
        with pytest.raises(CorruptIndexError):
            whole_table(whole, lambda path, damage=damage: damage(files[path]))
