"""The library for zstd is optional: its lack names the extra, its versions are recorded."""

from __future__ import annotations

import sys

import pytest

from shardpack.codecs.zstd import zstandard, zstd_versions
from shardpack.errors import MissingDependencyError


@pytest.fixture
def forget():
    zstandard.cache_clear()
    yield
    zstandard.cache_clear()


@pytest.mark.usefixtures("forget")
def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingDependencyError, match=r'needs zstandard; run pip install "shardpack\[zstd\]"'):
        zstandard()


def test_versions_are_those_of_the_package_and_of_the_library_in_it():
    module = pytest.importorskip("zstandard")
    versions = zstd_versions()
    assert versions == {"zstandard": module.__version__, "libzstd": ".".join(map(str, module.ZSTD_VERSION))}
