"""What an append asks of `pack` follows from how the dataset was packed; equal calls are one append."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shardpack
from shardpack.edit.append_request import append_digest, append_request, check_options
from shardpack.edit.base import open_base
from shardpack.errors import OptionError


@pytest.fixture
def base(tmp_path):
    shardpack.pack([("a", {"txt": "a"})], tmp_path / "ds", max_shard_samples=7, compress={"txt": "zstd:1"})
    return open_base(tmp_path / "ds")


def test_options_of_another_kind_are_named():
    check_options({"max_shard_samples": 3})
    for name in ("force", "part", "unknown"):
        with pytest.raises(OptionError, match=f"append has no option '{name}'"):
            check_options({name: 1})


def test_shards_are_as_those_of_the_dataset_unless_told_otherwise(base):
    asked = append_request(base.manifest, {"max_shard_samples": None, "compress": None})
    assert (asked.max_shard_samples, asked.compress, asked.force) == (7, {"txt": "zstd:1"}, True)
    asked = append_request(base.manifest, {"max_shard_samples": 3, "compress": {"txt": "zstd:9"}})
    assert (asked.max_shard_samples, asked.compress) == (3, {"txt": "zstd:9"})


def test_equal_calls_have_equal_digests(base, tmp_path):
    request = append_request(base.manifest, {})
    digest = append_digest(tmp_path, base, request, None)
    assert append_digest(str(tmp_path), base, replace(request, jobs=3), None) == digest
    others = [
        append_digest(tmp_path / "other", base, request, None),
        append_digest(tmp_path, base, replace(request, max_shard_samples=1), None),
        append_digest(tmp_path, base, request, "val"),
        append_digest([], base, request, None),
    ]
    assert len({digest, *others}) == 5
