"""A process knows whether it is a worker."""

from __future__ import annotations

from shardpack.runtime.child import Child
from shardpack.runtime.worker import is_worker


def ask(_):
    return is_worker()


def test_children_are_workers_and_this_process_is_not():
    child = Child()
    try:
        assert child.ask(ask, None) == (True, True)
    finally:
        child.kill()
        child.close()
    assert not is_worker()
