"""The golden dataset: packing the same samples gives the very same bytes, and reading them gives the samples."""

from __future__ import annotations

import shardpack
from tests.conformance.recipes import CORPUS, GOLDEN_SAMPLES, golden_dataset

GOLDEN = CORPUS / "golden"


def files(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_packing_gives_the_golden_bytes(tmp_path):
    golden_dataset(tmp_path / "out")
    made, golden = files(tmp_path / "out"), files(GOLDEN)
    assert made.keys() == golden.keys()
    for name, data in golden.items():
        assert made[name] == data, f"{name} has other bytes: a change of the format needs SPEC.md and its version"


def test_the_golden_dataset_is_complete():
    assert sorted(files(GOLDEN)) == [
        "keys.index",
        "shard-000000.index",
        "shard-000000.tar",
        "shard-000001.index",
        "shard-000001.tar",
        "shardpack.json",
    ]


def test_reading_gives_the_samples():
    ds = shardpack.open(GOLDEN)
    assert list(ds.keys()) == list(GOLDEN_SAMPLES)
    assert [dict(sample) for sample in ds] == [dict(sorted(fields.items())) for fields in GOLDEN_SAMPLES.values()]
    for position, (key, fields) in enumerate(GOLDEN_SAMPLES.items()):
        assert ds[key].position == position
        assert dict(ds[position]) == fields
