"""`import shardpack` is cheap and loads nothing optional, in a fresh process; worker processes load what they use."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LATE = {
    "PIL",
    "click",
    "cloudpickle",
    "fsspec",
    "obstore",
    "pyarrow",
    "ray",
    "rich",
    "simplejpeg",
    "torch",
    "urllib3",
    "webdataset",
}
HEAVY = {"argparse", "asyncio", "crc32c", "email", "http", "logging.config", "ssl", "unittest", "xml", "zstandard"}
PACKING = {"shardpack.dataset", "shardpack.read", "shardpack.stream", "shardpack.index.run", "multiprocessing"}
CPU_SECONDS = 10.0  # endless work, not a speed: figures are in tools/bench

PROBE = """
import json, sys, time
start = time.process_time()
{}
seconds = time.process_time() - start
print(json.dumps([seconds, [*sys.modules]]))
"""


def _run_once(code: str) -> tuple[float, set[str]]:
    """Return the CPU seconds that some code takes in a fresh process, and the modules that are loaded then."""
    command = [sys.executable, "-c", PROBE.format(code)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    seconds, modules = json.loads(done.stdout)
    return seconds, set(modules)


def test_importing_loads_nothing_but_errors():
    _, modules = _run_once("import shardpack")
    assert {name for name in modules if name.startswith("shardpack.")} == {
        "shardpack._version",
        "shardpack.errors",
        "shardpack.export",
        "shardpack.index",
        "shardpack.runtime",
        "shardpack.runtime.lazy",
        "shardpack.table",
    }
    assert "numpy" not in modules


@pytest.mark.parametrize(
    ("code", "unused"),
    [
        ("import shardpack; shardpack.open; import shardpack.dataset", {"shardpack.write", "shardpack.commit"}),
        ("import shardpack.write.pack_shard", PACKING),  # as each worker process
        ("import shardpack; shardpack.pack; import shardpack.write.pack", PACKING - {"multiprocessing"}),
        ("import shardpack; shardpack.ShardWriter", PACKING - {"multiprocessing"}),
    ],
)
def test_nothing_is_loaded_that_is_not_needed(code, unused):
    _, modules = _run_once(code)
    assert not modules & (LATE | HEAVY | unused)


def test_importing_is_quick():
    assert _run_once("import shardpack.dataset")[0] < CPU_SECONDS


def test_help_loads_no_more_than_it_needs():
    probe = "import sys\nfrom shardpack.cli.main import main\nmain(['--help'])\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    modules = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in modules
    assert not modules & (LATE - {"click", "rich"})
