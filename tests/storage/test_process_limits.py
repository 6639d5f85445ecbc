"""How many files may be mapped."""

from __future__ import annotations

import sys

import pytest

from shardpack.storage.process_limits import max_descriptors, max_maps


def test_maps_leave_descriptors_for_others():
    assert 1 <= max_maps() <= 4096
    if sys.version_info < (3, 13):
        assert max_maps() <= max_descriptors() // 4


def test_the_limit_is_that_of_the_moment():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert max_descriptors() == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
