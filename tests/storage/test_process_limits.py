"""How many files may be open and mapped."""

from __future__ import annotations

import sys

import pytest

from shardpack.storage.file_map import TAKES_DESCRIPTOR
from shardpack.storage.process_limits import max_descriptors, max_files, max_index_maps, max_maps


def test_maps_leave_descriptors_for_others():
    assert 1 <= max_files() <= max(1, max_descriptors() // 4)
    assert max_maps() == (max_files() if TAKES_DESCRIPTOR else 16_384)
    assert max_index_maps() == (16_384 if sys.version_info >= (3, 13) else max_files())


def test_the_limit_is_that_of_the_moment():
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        assert max_descriptors() == 512
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
