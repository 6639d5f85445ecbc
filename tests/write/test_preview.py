"""A preview shows samples as they would be packed: their keys, fields and labels."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.write.preview import SHOWN_TEXT, SamplePreview, of_samples, preview
from tests.fakes import contents
from tests.sources.trees import listing_of, write_tree


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_the_first_the_last_and_one_between_as_they_are_packed(tmp_path, count):
    write_tree(tmp_path / "in", [f"{split}/c{n % 2}/{n:02}.jpg" for split in ("val", "train") for n in range(count)])
    before = contents(tmp_path)
    plan = shardpack.pack(tmp_path / "in", tmp_path / "out", dry_run=True, shuffle_seed=1)
    assert contents(tmp_path) == before
    assert shardpack.pack(tmp_path / "in", tmp_path / "out", shuffle_seed=1).preview == ()
    packed = shardpack.open(tmp_path / "out")
    positions = [0, len(packed) // 2 - (len(packed) % 2 == 0), len(packed) - 1] if count > 1 else [0, 1]
    assert [shown.key for shown in plan.preview] == [packed[position].key for position in positions]
    for shown in plan.preview:
        sample = packed[shown.key]
        assert shown.split == shown.key.partition("/")[0]
        assert shown.fields == {name: len(payload) for name, payload in sample.items()}
        assert shown.labels == {name: bytes(sample[name]).decode() for name in sample if name == "json"}


def test_samples_that_change_are_shown_as_they_become(tmp_path):
    write_tree(tmp_path / "in", {"a.jpg": b"x", "a.json": "{}"})

    def change(fields):
        return [{"json": {"n": n}, "bin": fields["jpg"] * 2} for n in range(2)]

    options = {"transform": change, "transform_version": "1", "jobs": 1}
    plan = shardpack.pack(tmp_path / "in", tmp_path / "out", dry_run=True, **options)
    assert plan.preview == tuple(
        SamplePreview(f"a-{n}", None, {"bin": 2, "json": 7}, {"json": f'{{"n":{n}}}'}) for n in range(2)
    )


def test_long_labels_are_shortened():
    (shown,) = of_samples([("a", {"json": json.dumps(["é" * 3000], ensure_ascii=False).encode(), "txt": b"\xff"})])
    assert len(shown.labels["json"]) == SHOWN_TEXT
    assert shown.labels["json"].endswith("é...")
    assert shown.labels["txt"] == "�"


def test_nothing_to_show():
    assert preview(listing_of({})) == ()
