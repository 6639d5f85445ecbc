"""What children inherit: all that was handed down before they started, before their first task, once."""

from __future__ import annotations

import pytest

from shardpack.runtime import heritage
from shardpack.runtime.heritage import hand_down
from shardpack.runtime.processes import WorkerPool

taken: list[object] = []  # in a child


def take(value):
    taken.append(value)
    if value == "bad":
        raise LookupError("not this one")


def tell(_):
    return sorted(map(str, taken))


@pytest.fixture(autouse=True)
def _nothing_else(monkeypatch):
    monkeypatch.setattr(heritage, "_givers", {})


def test_each_child_takes_all_before_its_first_task():
    hand_down(take, lambda: ["one", "two"])
    with WorkerPool(2) as pool:
        assert dict(pool.map(tell, range(8))) == {number: ["one", "two"] for number in range(8)}


def test_what_is_handed_down_later_is_for_later_children():
    values = ["one"]
    hand_down(take, lambda: list(values))
    with WorkerPool(1) as early:
        values.append("two")
        with WorkerPool(1) as late:
            assert dict(early.map(tell, [0])) == {0: ["one"]}
            assert dict(late.map(tell, [0])) == {0: ["one", "two"]}


def test_what_cannot_be_handed_down_harms_no_task():
    hand_down(take, lambda: ["bad", lambda: None, "good"])
    with WorkerPool(1) as pool:
        assert dict(pool.map(tell, [0])) == {0: ["bad", "good"]}
