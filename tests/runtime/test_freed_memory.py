"""Memory of large objects is not handed back and asked for again with each of them."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FAULTS = """
import resource, sys
from shardpack.runtime.freed_memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    objects = [bytes(150_000) for _ in range(6)]
    del objects
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the limits of glibc")
def test_memory_of_large_objects_is_used_again():
    def faults(how):
        return int(
            subprocess.run([sys.executable, "-c", FAULTS, how], cwd=ROOT, check=True, capture_output=True).stdout
        )

    assert faults("keep") < 1000, "900 KB of pages, once"
    assert faults("leave") > 4000, "most of them in each of 50 rounds: else there is nothing to keep"
