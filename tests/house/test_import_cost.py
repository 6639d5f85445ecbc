"""`import shardpack` is cheap and loads nothing optional, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.conftest import ROOT

LATE = ["PIL", "click", "fsspec", "obstore", "pyarrow", "ray", "rich", "simplejpeg", "torch", "webdataset"]
SECONDS = 10.0  # a hang, not a speed: figures are in tools/bench

PROBE = """
import json, sys, time
start = time.perf_counter()
import shardpack
seconds = time.perf_counter() - start
print(json.dumps([seconds, sorted({name.split(".")[0] for name in sys.modules})]))
"""


def _import_once() -> tuple[float, set[str]]:
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_nothing_optional_is_loaded():
    _, modules = _import_once()
    assert "shardpack" in modules
    assert not modules & set(LATE)


def test_importing_is_quick():
    assert min(_import_once()[0] for _ in range(3)) < SECONDS


def test_help_loads_no_more_than_it_needs():
    probe = "import sys\nfrom shardpack.cli.main import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in modules
    assert not modules & (set(LATE) - {"click", "rich"})
