"""Megatron-Energon loads our tars by our indexes, and its own tool makes the same ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import shardpack
from tests.heavy.needs import heavy, marks

energon = heavy("megatron.energon", "energon")
pytestmark = marks
FIELDS = ["jpg", "mirror.jpg", "seg.png", "json"]


@energon.stateless
def keep(sample):
    return {"__key__": sample["__key__"], **{field: sample[field] for field in FIELDS}}


class Encoder(energon.DefaultTaskEncoder):
    cookers = (energon.Cooker(keep),)
    decoder = None  # payloads as they are

    def batch(self, samples):
        return samples


def test_its_loader(photographs, tmp_path):
    shardpack.copy(photographs.location, tmp_path / "ds")
    shardpack.export(shardpack.open(tmp_path / "ds"), to="energon")
    for split in photographs.splits:
        dataset = energon.get_val_dataset(
            str(tmp_path / "ds"),
            split_part=split,
            worker_config=energon.WorkerConfig(rank=0, world_size=1, num_workers=0),
            batch_size=1,
            task_encoder=Encoder(),
        )
        found = [sample for batch in energon.get_loader(dataset) for sample in batch]
        assert [dict(one) for one in found] == [
            {"__key__": one.key, **{field: one[field] for field in FIELDS}} for one in photographs.split(split)
        ]


def test_the_indexes_of_its_tool(photographs, tmp_path):
    for name in ("ours", "theirs"):
        shardpack.copy(photographs.location, tmp_path / name)
    shardpack.export(shardpack.open(tmp_path / "ours"), to="energon")
    tool = str(Path(sys.executable).with_name("energon"))
    options = ["--non-interactive", "--split-ratio", "1,0,0", "--num-workers", "1", "--sample-type", "CrudeWebdataset"]
    subprocess.run([tool, "prepare", str(tmp_path / "theirs"), *options], check=True, capture_output=True)
    names = sorted(path.name for path in (tmp_path / "theirs").glob("*.tar.idx"))
    assert len(names) == len(photographs.shards)
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
