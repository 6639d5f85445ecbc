"""Readers of others that bring a loader of their own read our exports: Hugging Face, webdataset."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import shardpack
from tests.export.datasets import CLASSES
from tests.format.builders import judge_module
from tests.photographs import photographs as samples_of_all

SCRIPT = Path(__file__).parent / "judges" / "huggingface.py"


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("judges") / "ds"
    with shardpack.ShardWriter(folder, classes=CLASSES) as writer:
        for number, (_, photograph) in enumerate(samples_of_all()):
            label = {
                "label": number % 2,
                "class": CLASSES[number % 2],
                "caption": f"no. {number}",
                "points": [number, 0.5],
            }
            fields = {"jpg": photograph["jpg"], "json": label}
            writer.write(f"{number:04d}", fields, split="train" if number < 160 else "test")
    return shardpack.open(folder)


@pytest.mark.slow
def test_hugging_face(ds, tmp_path):
    if importlib.util.find_spec("datasets") is None:
        reason = "datasets is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            pytest.fail(reason + ", and SHARDPACK_REQUIRE_READERS is set", pytrace=False)
        pytest.skip(reason)
    for to in ("parquet", "folder"):
        shardpack.export(ds, tmp_path / to, to=to, max_file_samples=70 if to == "parquet" else None, jobs=1)
    command = [sys.executable, SCRIPT, tmp_path / "cache", tmp_path / "parquet", tmp_path / "folder"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            one = json.loads(line)
            found.setdefault((Path(one["folder"]).name, one["split"]), []).append((one["names"], one["row"]))
    for split in ds.splits:
        samples = [(sample, sample.decode("json")) for sample in ds.split(split)]
        assert found["parquet", split] == [
            (
                list(CLASSES),
                {
                    "__key__": sample.key,
                    "image": sample["jpg"].hex(),
                    "label": label["label"],
                    "caption": label["caption"],
                    "points": label["points"],
                },
            )
            for sample, label in samples
        ]
        rows = {row["image"]: row for _, row in found["folder", split]}
        for sample, label in samples:
            row = rows[sample["jpg"].hex()]
            assert (row["label"], row["caption"]) == (label["label"], label["caption"])
            assert json.loads(row["points"]) == label["points"]


def test_webdataset(ds, tmp_path):
    webdataset = judge_module("webdataset")
    shardpack.export(ds, tmp_path / "out", to="webdataset", pattern="{split}-%04d.tar", max_file_samples=70, jobs=1)
    names = sorted(str(path) for path in (tmp_path / "out").glob("train-*.tar"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # webdataset's own
        found = list(webdataset.WebDataset(names, shardshuffle=False))
    assert [(one["__key__"], one["jpg"], one["json"]) for one in found] == [
        (sample.key, sample["jpg"], sample["json"]) for sample in ds.split("train")
    ]
