"""The golden dataset: packing the same samples gives the very same bytes, and reading them gives the samples."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest

import shardpack
from shardpack.codecs.zstd import zstd_versions
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import MANIFEST_PATH, manifest_path
from shardpack.format.manifest import Parent
from shardpack.format.manifest_json import parse_manifest
from shardpack.format.shard_index import parse_index
from tests.conformance.recipes import (
    CORPUS,
    EDITED_DELETED,
    EDITED_LAYER,
    EDITED_RANGES,
    EDITED_SAMPLES,
    GOLDEN_SAMPLES,
    GOLDEN_SPLITS,
    compressed_dataset,
    edited_dataset,
    elsewhere_dataset,
    golden_dataset,
    splits_dataset,
)
from tests.format.builders import judge_module
from tests.sidecars import key_index, plain

GOLDEN, ELSEWHERE, COMPRESSED = CORPUS / "golden", CORPUS / "elsewhere", CORPUS / "compressed"
SPLITS, EDITED = CORPUS / "splits", CORPUS / "edited"


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


def test_edits_give_the_golden_bytes(tmp_path):
    edited_dataset(tmp_path / "out")
    assert files(tmp_path / "out") == files(EDITED), "other bytes: a change of the format needs SPEC.md and its version"


def test_a_chain_of_generations():
    made = [parse_manifest((EDITED / manifest_path(number)).read_bytes()) for number in range(1, 7)]
    assert (EDITED / MANIFEST_PATH).read_bytes() == (EDITED / manifest_path(6)).read_bytes()
    for before, after in pairwise(made):
        text = (EDITED / manifest_path(before.generation)).read_bytes()
        assert after.parent == Parent(before.generation, len(text), crc32c(text))
    assert [manifest.num_samples for manifest in made] == [6, 8, 8, 8, 8, 12]
    assert [manifest.num_deleted for manifest in made] == [0, 0, 2, 2, 2, 2]
    assert len({manifest.fingerprint for manifest in made}) == 5, "splits are no content"
    assert made[-1].fields == ("cls", "jpg", "json", "seg.png", "txt")
    fell = hash_keys(EDITED_SAMPLES["g000006"]) >= np.uint64(3 << 62)
    assert made[-1].splits.totals == {"train": 5 + int((~fell).sum()), "val": 3 + int(fell.sum())}


def test_earlier_generations_are_read():
    samples = {**GOLDEN_SAMPLES, **EDITED_SAMPLES["g000002"]}
    ds = shardpack.open(EDITED, generation=2)
    assert list(ds.keys()) == list(samples)
    assert [dict(sample) for sample in ds] == [dict(sorted(fields.items())) for fields in samples.values()]
    assert [ds[key].position for key in samples] == list(range(8))
    assert [dict(sample) for sample in shardpack.open(EDITED, generation=1)] == [
        dict(sorted(fields.items())) for fields in GOLDEN_SAMPLES.values()
    ]


def test_the_newest_generation_is_read():
    samples = {**GOLDEN_SAMPLES, **EDITED_SAMPLES["g000002"], **EDITED_SAMPLES["g000006"]}
    visible = {key: {**fields, **EDITED_LAYER.get(key, {})} for key, fields in samples.items()}
    for key in EDITED_DELETED:
        del visible[key]
    ds = shardpack.open(EDITED)
    assert list(ds.keys()) == list(visible)
    assert [dict(sample) for sample in ds] == [dict(sorted(fields.items())) for fields in visible.values()]
    assert [ds[key].position for key in visible] == list(range(10))
    *train, last = (key for key in GOLDEN_SAMPLES if key in visible)
    in_ranges = {"train": train, "val": [last, "more/2"]}
    upper = (hash_keys(EDITED_SAMPLES["g000006"]) >> np.uint64(32)).tolist()
    for name, (begin, end) in EDITED_RANGES.items():
        fell = [key for key, h in zip(EDITED_SAMPLES["g000006"], upper, strict=True) if begin <= h < end]
        assert list(ds.split(name).keys()) == [*in_ranges[name], *fell]
    assert ds.splits == {name: len(list(ds.split(name).keys())) for name in ("train", "val")}
    assert shardpack.verify(EDITED, full=True).ok


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
