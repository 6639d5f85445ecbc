"""Objects learn that they are in a forked child, as long as they are alive; freed memory is used again."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import sys

import pytest

from shardpack.runtime.process import watch_forks
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


class Watcher:
    def __init__(self, told):
        self.told = told
        watch_forks(self)

    def after_fork(self):
        self.told.append(os.getpid())


def told_in_child(told):
    """Return how often a forked child finds itself in `told`."""
    child = os.fork()
    if not child:
        os._exit(told.count(os.getpid()))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_object_is_told_in_each_child_and_not_in_the_parent():
    told = []
    watcher = Watcher(told)
    assert told_in_child(told) == 1
    assert told_in_child(told) == 1
    assert watcher.told == []


def test_a_dropped_object_is_forgotten():
    told = []
    watcher = Watcher(told)
    del watcher
    gc.collect()
    assert told_in_child(told) == 0


FAULTS = """
import resource, sys
from shardpack.runtime.process import keep_freed_memory

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
