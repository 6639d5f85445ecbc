"""The cores of this process are those that the system lets it use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shardpack.runtime.cores import usable_cores


def test_there_is_one_at_least():
    assert usable_cores() >= 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell")
def test_a_process_that_is_bound_to_one_core_has_one_and_starts_one_worker():
    script = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from shardpack.runtime.cores import usable_cores; from shardpack.runtime.processes import default_jobs; "
        "print(usable_cores(), default_jobs(1 << 60))"
    )
    own = {name: value for name, value in os.environ.items() if name != "PYTHON_CPU_COUNT"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=own)
    assert done.stdout.split() == [b"1", b"1"]


def test_what_python_is_told_counts(monkeypatch):
    monkeypatch.setattr(os, "process_cpu_count", lambda: 3, raising=False)
    assert usable_cores() == 3
