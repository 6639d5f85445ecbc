"""The value of the name that was asked for last is made once."""

from __future__ import annotations

import threading

import pytest

from shardpack.runtime.latest import Latest


def test_a_value_is_made_once_until_another_is_asked_for():
    made = []
    latest = Latest()
    for name in ("a", "a", "b", "b", "a"):
        assert latest.get(name, lambda name=name: made.append(name) or name.upper()) == name.upper()
    assert made == ["a", "b", "a"]


def test_none_is_a_value():
    latest = Latest()
    assert latest.get("a", lambda: None) is None
    assert latest.get("a", object) is None


def test_an_error_is_raised_and_nothing_kept():
    latest = Latest()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            latest.get("a", lambda: 1 // 0)
    assert latest.get("a", lambda: 3) == 3


def test_threads_wait_for_the_one_that_makes_it():
    latest, begun, go_on, found = Latest(), threading.Event(), threading.Event(), []

    def make():
        begun.set()
        go_on.wait()
        return object()

    threads = [threading.Thread(target=lambda: found.append(latest.get("a", make))) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    go_on.set()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(map(id, found))) == 1


def test_a_forked_child_does_not_wait_for_a_thread_of_its_parent():
    latest = Latest()

    def make():  # a thread of the parent is here while another one forks
        latest.after_fork()
        return latest.get("b", lambda: 2)

    assert latest.get("a", make) == 2
