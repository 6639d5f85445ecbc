"""Which engine a request starts, and what is no engine."""

from __future__ import annotations

import builtins
import sys

import pytest

from shardpack.errors import MissingDependencyError, OptionError
from shardpack.runtime.engine import IN_PROCESS, as_remote
from shardpack.runtime.processes import WorkerPool
from shardpack.runtime.start_engine import check_engine, start_engine


def test_without_an_engine_there_are_workers_or_this_process():
    with start_engine(None, None) as engine:
        assert engine is IN_PROCESS
    with start_engine(None, 1, threads_per_job=2) as engine:
        assert isinstance(engine, WorkerPool)
        assert as_remote(engine) is None


def test_the_users_own_engine_is_left_running():
    with WorkerPool(1) as own:
        with start_engine(own, None) as engine:
            assert engine is own
        assert dict(own.map(abs, [-1])) == {0: 1}


@pytest.mark.parametrize("engine", ["dask", 3, object(), int])
def test_what_is_no_engine_is_refused(engine):
    with pytest.raises(OptionError, match='expected "ray", or an object with `jobs` and `map`'):
        check_engine(engine)


def test_without_ray_its_extra_is_named(monkeypatch):
    real = builtins.__import__

    def without_ray(name, *arguments, **options):
        if name.partition(".")[0] == "ray":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    monkeypatch.delitem(sys.modules, "shardpack.runtime.ray_engine", raising=False)
    with pytest.raises(MissingDependencyError, match=r'run pip install "shardpack\[ray\]"'), start_engine("ray", None):
        pass
