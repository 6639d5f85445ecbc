"""Limits of reading: sizes as callers write them, and a budget that one holder may always exceed."""

from __future__ import annotations

import pytest

import shardpack
from shardpack.errors import OptionError
from shardpack.stream.limits import MemoryBudget, read_limits
from tests.read.datasets import CountingStore, numbered, packed


def test_sizes_are_checked_at_once():
    assert read_limits("2MiB").memory_bytes == 2 << 20
    ds = shardpack.open(CountingStore(packed(numbered(2))))
    with pytest.raises(OptionError, match="not a size"):
        ds.stream(memory_bytes="much")
    with pytest.raises(OptionError, match="memory_bytes"):
        ds.stream(memory_bytes=0)


def test_a_budget_is_kept_unless_nothing_is_held():
    budget = MemoryBudget(10)
    assert budget.take(100), "one holder alone gets what it needs"
    assert not budget.take(1)
    budget.give_back(100)
    assert budget.take(6)
    assert budget.take(4)
    assert not budget.take(1)
    budget.give_back(6)
    assert budget.take(6)
