"""Croissant: the names that its readers ask for."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from shardpack.export.indexes.croissant import CroissantTar, encode
from tests.export.indexes.samples import SAMPLES, exported


def described(**more):
    contents = {"title": "t", "samples_per_field": {}, "num_samples": 0, "splits": {}, "classes": None, "version": "v"}
    return json.loads(encode([CroissantTar("a.tar", "a.tar", 1024)], **{**contents, **more}))


def test_tars_fields_and_classes(ds, tmp_path):
    made = json.loads(exported(ds, tmp_path, "croissant", hashes=True)["croissant.json"])
    tars = [one for one in made["distribution"] if one["@type"] == "cr:FileObject"]
    for tar, info in zip(tars, ds.shards, strict=True):
        data = Path(tar["contentUrl"]).read_bytes()
        assert tar["sha256"] == hashlib.sha256(data).hexdigest()
        assert tar["contentSize"] == f"{info.num_bytes} B"
    assert "isLiveDataset" not in made
    assert [records["@id"] for records in made["recordSet"]] == [*ds.fields, "classes"]
    assert made["recordSet"][-1]["data"][1] == {"classes/label": 1, "classes/name": "dog"}


def test_without_hashes_it_is_called_live(ds, tmp_path):
    made = json.loads(exported(ds, tmp_path, "croissant")["croissant.json"])
    assert made["isLiveDataset"] is True
    assert not any("sha256" in one for one in made["distribution"])


def test_a_set_of_files_holds_its_field_alone():
    counts = {"png": 1, "seg.png": 1, "json": 1}
    made = described(samples_per_field=counts)
    sets = {one["@id"]: one for one in made["distribution"] if one["@type"] == "cr:FileSet"}
    assert sets["files-png"]["includes"] == "*.png"
    assert sets["files-png"]["excludes"] == ["*.seg.png"]
    assert "excludes" not in sets["files-seg.png"]


def test_keys_are_cut_from_names():
    made = described(samples_per_field={"seg.png": 1})
    regex = made["recordSet"][0]["field"][0]["source"]["transform"]["regex"]
    assert [re.match(regex, f"{key}.seg.png")[1] for key in SAMPLES] == list(SAMPLES)


def test_splits_are_records():
    made = described(splits={"train": ["a.tar"]})
    assert made["recordSet"][0]["data"] == [{"splits/name": "train", "splits/tars": ["a.tar"]}]
