"""Objects learn that they are in a forked child, as long as they are alive."""

from __future__ import annotations

import gc
import os

import pytest

from shardpack.runtime.fork import watch_forks

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
