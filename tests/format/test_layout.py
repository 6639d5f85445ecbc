"""Where the files of a dataset are, as SPEC 1.2 draws them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import FormatError
from shardpack.format.layout import (
    file_path,
    generation_of,
    index_path,
    is_index_path,
    is_layer_path,
    is_packer_name,
    manifest_path,
    shard_name,
    shard_of_index,
    split_of_shard,
    table_name,
    tag_of_shard,
    tagged_shard_name,
)
from shardpack.format.manifest import KeySegment


def test_the_path_of_the_index():
    assert index_path("shard-000000.tar") == ".shardpack/index/shard-000000.index"
    assert index_path("a/x.tgz") == ".shardpack/index/a/x.tgz.index"
    assert index_path("x.tar", 2) == ".shardpack/index/2/x.index"
    assert index_path("2/x.tar") == ".shardpack/index/0/2/x.index"
    assert index_path("2.tar") == ".shardpack/index/2.index"


@pytest.mark.parametrize(
    "name", ["shard-000000.tar", "shard-000000.tar.zst", "a/x.tgz", "x.tar.gz", "2/x.tar", "2.tar"]
)
@pytest.mark.parametrize("location", [0, 2])
def test_the_shard_of_an_index(name, location):
    assert shard_of_index(index_path(name, location)) == (location, name)


@given(st.lists(st.tuples(st.sampled_from(["x", "1/x", "0/1/x", "0/x", "1/1/x", "a/1/x", "²/x"]), st.integers(0, 2))))
def test_no_two_shards_share_an_index(shards):
    assert len({index_path(*shard) for shard in shards}) == len(set(shards))


def test_paths_of_manifests_and_segments():
    assert manifest_path(7) == ".shardpack/manifests/000007.json"
    segment = KeySegment("keys-000001-00c0ffee.index", 1, 2, 3, 4, num_keys=5)
    assert file_path(segment) == ".shardpack/keys-000001-00c0ffee.index"
    assert is_index_path(index_path("x.tar"))
    assert not is_index_path(file_path(segment))


@pytest.mark.parametrize("compressed", [False, True])
def test_names_that_a_packer_gives(compressed):
    for number in (0, 7, 999_999, 1_000_000):
        assert is_packer_name(shard_name(number, compressed=compressed))
    for other in ("shard-1.tar", "shard-000001.tar.gz", "x/shard-000001.tar", "shard-000001.index"):
        assert not is_packer_name(other)


@pytest.mark.parametrize(
    ("path", "generation"),
    [
        (".shardpack/manifests/000003.json", 3),
        (".shardpack/shards-000012-0badcafe.index", 12),
        (".shardpack/keys-1000000-0badcafe.index", 1_000_000),
        (".shardpack/splits-000012-0badcafe.index", 12),
        (".shardpack/deleted-000003-0badcafe.index", 3),
        (".shardpack/layer-000004-0badcafe.index", 4),
        (f".shardpack/{table_name(5, 0xBADCAFE)}", 5),
        (".shardpack/table/notes.parquet", 0),
        (".shardpack/table/splits-000004-0badcafe.parquet", 4),
        (".shardpack/layers/g000002-5f3a9c01/.shardpack/manifests/000001.json", 0),
        (".shardpack/tmp/append-5f3a9c01/keys-000001-0badcafe.index", 0),
        (".shardpack/manifest.json", 0),
        (".shardpack/keys-000001-0badcafe.index.tmp", 0),
        (".shardpack/index/keys-000001-0badcafe.index", 0),
        ("shard-000001.tar", 0),
    ],
)
def test_the_generation_of_a_file(path, generation):
    assert generation_of(path) == generation


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("number", "part", "stem"),
    [
        (0, None, "shard-000000"),
        (1_000_000, None, "shard-1000000"),
        (12, 0, "shard-000012-00"),
        (12, 100, "shard-000012-100"),
    ],
)
def test_shards_and_parts_of_chunks_have_names_that_are_recognized(number, part, stem, compressed):
    name = shard_name(number, part, compressed=compressed)
    assert name == f"{stem}.tar{'.zst' * compressed}"
    assert is_packer_name(name)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("split", ["train", "a-b", "2017", "x2017-y_1"])
@pytest.mark.parametrize("part", [None, 0, 12, 100])
def test_the_shards_of_a_split_are_named_after_it(split, part, compressed):
    name = shard_name(7, part, split=split, compressed=compressed)
    assert name.startswith(f"{split}-000007")
    assert is_packer_name(name)
    assert split_of_shard(name) == split
    assert split_of_shard(shard_name(7, part, compressed=compressed)) is None


TAG = "g000002-5f3a9c01"


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("split", [None, "train", "a-b", "2017", "g000002", "x_g1"])
@pytest.mark.parametrize("part", [None, 0, 12])
@pytest.mark.parametrize("tag", [TAG, "g1000000-12345678"])
def test_shards_of_edits_have_a_tag(split, part, compressed, tag):
    plain = shard_name(7, part, split=split, compressed=compressed)
    name = shard_name(7, part, split=split, compressed=compressed, tag=tag)
    assert tagged_shard_name(plain, tag) == name != plain
    assert (is_packer_name(name), tag_of_shard(name), tag_of_shard(plain)) == (True, tag, None)
    assert split_of_shard(name) == split == split_of_shard(plain)
    for other in (name, "photos.tar", "x/shard-000001.tar"):
        with pytest.raises(FormatError, match="no shard of a new dataset"):
            tagged_shard_name(other, tag)


def test_names_of_edits_as_the_specification_shows_them():
    assert shard_name(0, tag=TAG) == f"shard-{TAG}-000000.tar"
    assert shard_name(12, 3, split="train", compressed=True, tag=TAG) == f"train-{TAG}-000012-03.tar.zst"
    assert is_layer_path(f".shardpack/layers/{TAG}/shard-000000.tar")
    assert not is_layer_path(".shardpack/layer-000004-0badcafe.index")


@pytest.mark.parametrize(
    "name",
    [
        "shard-g000002-5f3a9c01.tar",
        "shard-g000002-000000.tar",
        "shard-000012-.tar",
        "shard-000012-0.tar",
        "shard-12-00.tar",
        "shard-000012-00-0.tar",
        "train-00001.tar",
        "a-2017-000001.tar",
        "a.b-000001.tar",
        "x/train-000001.tar",
        "-000001.tar",
        "Shard-000001.tar",
        "train-000001.tar\n",
    ],
)
def test_other_names_are_not_ours(name):
    assert not is_packer_name(name)
    assert split_of_shard(name) is None
