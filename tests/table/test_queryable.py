"""Datasets load nothing for tables before one is asked for."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT
from tests.table.datasets import labelled


def test_libraries_are_loaded_for_tables_alone(tmp_path):
    folder = labelled(tmp_path / "ds", [{"n": 1}, {"n": 2}])
    program = f"""
import sys, shardpack
libraries = {{"pyarrow", "duckdb"}}
ds = shardpack.open({folder!r})
ds[0], list(ds.stream())
assert not libraries & set(sys.modules), sys.modules
shardpack.table({folder!r})
assert "duckdb" not in sys.modules
view = shardpack.open({folder!r}).where("n = 2")
assert [sample.key for sample in view] == ["001"]
assert callable(shardpack.table)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
