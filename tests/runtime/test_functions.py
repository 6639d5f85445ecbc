"""Functions travel to processes that never saw the script they are from."""

from __future__ import annotations

import subprocess
import sys
import threading
import types

import pytest

from shardpack.errors import OptionError
from shardpack.runtime.functions import dump_function, load_function
from shardpack.runtime.processes import WorkerPool
from tests.conftest import ROOT

FACTOR = 3


def helper(x):
    return x * FACTOR


def importable(x):
    return helper(x)


def load_and_call(task):
    dumped, argument = task
    return load_function(dumped)(argument)


def call_elsewhere(function, argument):
    with WorkerPool(1) as pool:
        ((_, result),) = pool.map(load_and_call, [(dump_function(function, called="it"), argument)])
    return result


def test_a_closure_travels_by_value():
    offset = 10
    assert call_elsewhere(lambda x: helper(x) + offset, 2) == 16


def test_a_function_of_a_module_that_workers_import_travels_by_name():
    dumped = dump_function(importable, called="it")
    assert b"importable" in dumped
    assert b"FACTOR" not in dumped
    assert load_function(dumped) is importable


def test_a_function_of_a_module_that_nobody_else_could_import_travels_by_value(monkeypatch):
    made = types.ModuleType("made_here")
    monkeypatch.setitem(sys.modules, "made_here", made)
    exec("BASE = 5\ndef inner(x): return x + BASE\ndef outer(x): return inner(x) * 2\n", made.__dict__)
    assert call_elsewhere(made.outer, 1) == 12


def test_what_cannot_travel_is_said():
    lock = threading.Lock()
    with pytest.raises(OptionError, match="transform cannot be sent to another process"):
        dump_function(lambda _: lock, called="transform")


SCRIPT = """
import sys
from shardpack.runtime.functions import dump_function
FACTOR = 7
def helper(x): return x * FACTOR
def outer(x): return helper(x)
sys.stdout.buffer.write(dump_function(outer, called="it"))
"""


def test_a_function_of_a_script_travels_with_what_it_uses():
    dumped = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, check=True, capture_output=True).stdout
    assert load_function(dumped)(2) == 14
