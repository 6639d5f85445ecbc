"""Folders of tars that other tools prepared are packed with their splits; indexes are no labels."""

from __future__ import annotations

import json

import pytest

import shardpack
from shardpack.errors import SourceError
from tests.conftest import make_jpeg
from tests.export.indexes.test_index_source import write_tar

TARS = ("t-0", "t-1", "t-2")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    for tar in TARS:
        names = [f"{tar}/{i}.{field}" for i in range(2) for field in ("jpg", "json")]
        files = {name: make_jpeg() if name.endswith("jpg") else b'{"label": 1}' for name in names}
        write_tar(tmp_path / "set" / f"{tar}.tar", files)
    return tmp_path / "set"


@pytest.mark.parametrize("to", ["dali", "energon", "wids", "webshart", "hfutils", "croissant"])
def test_indexes_of_every_kind_are_left_out(folder, to):
    shardpack.export(shardpack.open(folder, index="memory"), folder.parent / "made", to=to)
    made = [path for path in (folder.parent / "made").rglob("*") if path.is_file()]
    for path in made:
        target = folder / path.relative_to(folder.parent / "made")
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    report = shardpack.pack(folder, folder.parent / "out")
    assert dict(report.samples_per_field) == {"jpg": 6, "json": 6}


def test_other_json_beside_tars_is_still_a_question(folder):
    (folder / "labels.json").write_text('{"t-0/0": 3}', encoding="utf-8")
    with pytest.raises(SourceError, match=r"may hold labels .*'labels.json'"):
        shardpack.pack(folder, folder.parent / "out")


def test_splits_of_energon(folder):
    (folder / ".nv-meta").mkdir()
    text = "split_parts:\n  train:\n  - t-{0..1}.tar\n  val:\n  - t-2.tar\n"
    (folder / ".nv-meta" / "split.yaml").write_text(text, encoding="utf-8")
    said = []
    shardpack.pack(folder, folder.parent / "out", announce=said.append)
    assert "splits as .nv-meta/split.yaml states: train 4, val 2" in said[0]
    ds = shardpack.open(folder.parent / "out")
    assert ds.splits == {"train": 4, "val": 2}
    assert sorted(ds.split("val").keys()) == ["t-2/0", "t-2/1"]


def test_splits_of_wids(folder):
    for name, tars in (("train", TARS[:2]), ("test", TARS[2:])):
        listed = {"wids_version": 1, "shardlist": [{"url": f"{tar}.tar", "nsamples": 2} for tar in tars]}
        (folder / f"{name}.json").write_text(json.dumps(listed), encoding="utf-8")
    shardpack.pack(folder, folder.parent / "out")
    assert shardpack.open(folder.parent / "out").splits == {"train": 4, "test": 2}
