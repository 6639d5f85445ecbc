"""The golden dataset: packing the same samples gives the very same bytes, and reading them gives the samples."""

from __future__ import annotations

import json
import shutil

import pytest

import shardpack
from shardpack.codecs.zstd import zstd_versions
from shardpack.format.shard_index import parse_index
from tests.conformance.recipes import (
    CORPUS,
    GOLDEN_SAMPLES,
    GOLDEN_SPLITS,
    compressed_dataset,
    elsewhere_dataset,
    golden_dataset,
    splits_dataset,
)
from tests.format.builders import judge_module
from tests.sidecars import key_index, plain

GOLDEN, ELSEWHERE, COMPRESSED = CORPUS / "golden", CORPUS / "elsewhere", CORPUS / "compressed"
SPLITS = CORPUS / "splits"


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packing_gives_the_golden_bytes(tmp_path):
    golden_dataset(tmp_path / "out")
    made, golden = files(tmp_path / "out"), files(GOLDEN)
    assert made.keys() == golden.keys()
    for name, data in golden.items():
        assert made[name] == data, f"{name} has other bytes: a change of the format needs SPEC.md and its version"


def test_the_golden_dataset_is_complete():
    assert sorted(map(plain, files(GOLDEN))) == [
        ".shardpack/index/shard-000000.index",
        ".shardpack/index/shard-000001.index",
        ".shardpack/manifest.json",
        ".shardpack/manifests/000001.json",
        "keys.index",
        "shard-000000.tar",
        "shard-000001.tar",
        "shards.index",
    ]


def test_indexing_without_payloads_gives_the_golden_bytes(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "golden")
    elsewhere_dataset(tmp_path / "golden", tmp_path / "out")
    made, golden = files(tmp_path / "out"), files(ELSEWHERE)
    assert made == golden
    assert files(tmp_path / "golden") == files(GOLDEN), "the tars' own folder is left alone"
    assert b'"locations": ["../golden"]' in golden[".shardpack/manifest.json"]
    assert b"crc32c" not in golden[".shardpack/index/shard-000000.index"]
    assert key_index(ELSEWHERE).read_bytes() == key_index(GOLDEN).read_bytes()


def test_packing_splits_gives_the_golden_bytes(tmp_path):
    splits_dataset(tmp_path / "out")
    assert files(tmp_path / "out") == files(SPLITS), "other bytes: a change of the format needs SPEC.md and its version"
    ds = shardpack.open(SPLITS)
    assert ds.splits == {"train": 3, "val": 2}
    for name in ds.splits:
        golden = [key for key, split in zip(GOLDEN_SAMPLES, GOLDEN_SPLITS, strict=True) if split == name]
        assert list(ds.split(name).keys()) == golden


def test_compressing_gives_the_golden_bytes(tmp_path):
    judge_module("zstandard")
    compressed_dataset(tmp_path / "out")
    made, golden = files(tmp_path / "out"), files(COMPRESSED)
    assert made.keys() == golden.keys()
    versions = json.loads(golden[".shardpack/manifest.json"])["packed_with"]["options"]["versions"]
    if zstd_versions() == versions:
        assert made == golden, "other bytes: a change of the format needs SPEC.md and its version"


def test_compressed_shards_hold_the_golden_tars():
    module = judge_module("zstandard")
    for name, tar in files(GOLDEN).items():
        if name.endswith(".tar"):
            with module.open(COMPRESSED / f"{name}.zst") as file:
                assert file.read() == tar
            index = parse_index((COMPRESSED / ".shardpack/index" / f"{name}.zst.index").read_bytes(), name=name)
            plain = parse_index((GOLDEN / ".shardpack/index" / name.replace(".tar", ".index")).read_bytes(), name=name)
            assert index.data_offset.tolist() == plain.data_offset.tolist()
            assert index.frames.plain_bytes == plain.shard_bytes


@pytest.mark.parametrize("folder", [GOLDEN, ELSEWHERE, COMPRESSED, SPLITS], ids=lambda folder: folder.name)
def test_reading_gives_the_samples(folder):
    if folder is COMPRESSED:
        judge_module("zstandard")
    ds = shardpack.open(folder)
    assert list(ds.keys()) == list(GOLDEN_SAMPLES)
    assert [dict(sample) for sample in ds] == [dict(sorted(fields.items())) for fields in GOLDEN_SAMPLES.values()]
    for position, (key, fields) in enumerate(GOLDEN_SAMPLES.items()):
        assert ds[key].position == position
        assert dict(ds[position]) == fields
