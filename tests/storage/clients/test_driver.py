"""Drivers in threads of their own, and calls that hang."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from shardpack.storage.clients.client import RequestError
from shardpack.storage.clients.driver import Drivers
from tests.conftest import ROOT

LONG = 60  # seconds, which only a defect takes


class Files:
    """Says which threads used it."""

    def __init__(self):
        self.threads = {threading.get_ident()}

    def use(self, together):
        self.threads.add(threading.get_ident())
        together.wait()
        return self


def test_each_driver_is_made_and_used_by_one_thread():
    made, together = [], threading.Barrier(8, timeout=LONG)
    drivers = Drivers(lambda: made.append(Files()) or made[-1], shared=False)
    with ThreadPoolExecutor(30) as pool:
        list(pool.map(lambda _: drivers.call(partial(Files.use, together=together), LONG), range(200)))
    assert len(made) == 8
    assert all(len(files.threads) == 1 for files in made)
    drivers.close()


def test_what_a_call_raises_is_raised_and_the_driver_stays():
    made = []
    drivers = Drivers(lambda: made.append(1) or object(), shared=False)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            drivers.call(lambda _: 1 / 0, LONG)
    assert made == [1]


def test_a_driver_that_hangs_is_given_up():
    made, release = [], threading.Event()
    drivers = Drivers(lambda: made.append(1) or object(), shared=False)
    with pytest.raises(RequestError, match="no answer in 0 s"):
        drivers.call(lambda _: release.wait(600), 0.1)
    assert drivers.call(lambda _: "fine", LONG) == "fine"
    assert len(made) == 2
    release.set()


def test_the_interpreter_does_not_wait_for_one_that_hangs():
    code = """
from shardpack.storage.clients.driver import Drivers
import time
try:
    Drivers(object, shared=False).call(lambda _: time.sleep(600), 0.1)
except Exception as error:
    print(error)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300)
    assert done.stdout == "no answer in 0 s\n"
