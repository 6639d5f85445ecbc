"""Drivers in threads of their own, and calls that hang."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shardpack.storage.clients.client import RequestError
from shardpack.storage.clients.driver import Drivers
from tests.conftest import ROOT


class Files:
    """Says which threads used it."""

    def __init__(self):
        self.threads = {threading.get_ident()}

    def use(self):
        self.threads.add(threading.get_ident())
        time.sleep(0.002)
        return self


def test_each_driver_is_made_and_used_by_one_thread():
    made = []
    drivers = Drivers(lambda: made.append(Files()) or made[-1], shared=False)
    with ThreadPoolExecutor(30) as pool:
        list(pool.map(lambda _: drivers.call(Files.use, 5), range(200)))
    assert 1 < len(made) <= 8
    assert all(len(files.threads) == 1 for files in made)
    drivers.close()


def test_what_a_call_raises_is_raised_and_the_driver_stays():
    made = []
    drivers = Drivers(lambda: made.append(1) or object(), shared=False)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            drivers.call(lambda _: 1 / 0, 5)
    assert made == [1]


def test_a_driver_that_hangs_is_given_up():
    made, release = [], threading.Event()
    drivers = Drivers(lambda: made.append(1) or object(), shared=False)
    began = time.monotonic()
    with pytest.raises(RequestError, match="no answer in 0 s"):
        drivers.call(lambda _: release.wait(30), 0.1)
    assert time.monotonic() - began < 5
    assert drivers.call(lambda _: "fine", 5) == "fine"
    assert len(made) == 2
    release.set()


def test_the_interpreter_does_not_wait_for_one_that_hangs():
    code = """
from shardpack.storage.clients.driver import Drivers
import time
try:
    Drivers(object, shared=False).call(lambda _: time.sleep(60), 0.1)
except Exception as error:
    print(error)
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.stdout == "no answer in 0 s\n"
    assert time.monotonic() - began < 30
