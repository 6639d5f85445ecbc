"""The cores of this process are those that the system lets it use."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from shardpack.runtime.cores import usable_cores


def test_there_is_one_at_least():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell")
def test_a_process_that_is_bound_to_one_core_has_one():
    script = (
        "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); "
        "from shardpack.runtime.cores import usable_cores; print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=True).stdout.strip() == b"1"
