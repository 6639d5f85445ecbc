"""Which rank and worker this process is: as told, else as its surroundings say, never by a guess."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from shardpack._dataloader import find_rank, find_worker
from shardpack.errors import OptionError


@pytest.fixture
def environment(monkeypatch):
    """Return a function that sets RANK and WORLD_SIZE, where torch.distributed has nothing to say."""
    monkeypatch.setitem(sys.modules, "torch.distributed", None)

    def choose(rank, world_size):
        for name, value in (("RANK", rank), ("WORLD_SIZE", world_size)):
            if value is None:
                monkeypatch.delenv(name, raising=False)
            else:
                monkeypatch.setenv(name, value)

    return choose


def test_what_is_given_counts(environment):
    environment("1", "2")
    assert find_rank(3, 8) == (3, 8)
    for one in ((3, None), (None, 8)):
        with pytest.raises(OptionError, match="give both or none"):
            find_rank(*one)


def test_the_environment_says(environment):
    environment("3", "8")
    assert find_rank(None, None) == (3, 8)
    environment(None, None)
    assert find_rank(None, None) == (0, 1)


def test_a_rank_of_unknown_many_is_refused(environment):
    """Or every rank would read everything."""
    environment("1", None)
    with pytest.raises(OptionError, match=r"RANK is set but WORLD_SIZE is not.*set both, as torchrun does"):
        find_rank(None, None)
    environment(None, "2")
    assert find_rank(None, None) == (0, 1)


def test_odd_numbers_are_refused(environment):
    environment("one", "2")
    with pytest.raises(OptionError, match="RANK is 'one' and WORLD_SIZE is '2'; expected numbers"):
        find_rank(None, None)


def test_distributed_goes_first(environment, monkeypatch):
    environment("1", "2")
    distributed = SimpleNamespace(
        is_available=lambda: True, is_initialized=lambda: True, get_rank=lambda: 5, get_world_size=lambda: 6
    )
    monkeypatch.setitem(sys.modules, "torch.distributed", distributed)
    assert find_rank(None, None) == (5, 6)


def test_workers(monkeypatch):
    data = SimpleNamespace(get_worker_info=lambda: None)
    monkeypatch.setitem(sys.modules, "torch.utils.data", data)
    assert find_worker() is None
    data.get_worker_info = lambda: SimpleNamespace(id=2, num_workers=3, seed=102)
    found = find_worker()
    assert (found.number, found.of, found.iteration) == (2, 3, 100)
    data.get_worker_info = lambda: SimpleNamespace(id=1, num_workers=3, seed=101)
    assert find_worker().together == found.together
