"""What readers of tars alone would not see."""

from __future__ import annotations

import shardpack
from shardpack.format.whole_tars import what_tars_lack


def test_deleted_samples_and_layers_are_told(tmp_path):
    shardpack.pack([(f"k{i}", {"json": {"v": i}}) for i in range(4)], tmp_path)
    assert what_tars_lack(shardpack.open(tmp_path).manifest) == ""
    shardpack.delete(tmp_path, ["k1", "k2"])
    assert what_tars_lack(shardpack.open(tmp_path).manifest) == "2 deleted samples are still in these"
    shardpack.relabel(tmp_path, {"k0": {"v": 5}})
    said = what_tars_lack(shardpack.open(tmp_path).manifest)
    assert said == "2 deleted samples are still in these, and these have none of the fields of layers"
