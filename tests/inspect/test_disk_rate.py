"""The rate of a disk, and what cannot be measured."""

from __future__ import annotations

import os
import sys

import pytest

from shardpack.errors import StorageError
from shardpack.inspect.disk_rate import disk_rate


def test_a_rate_and_nothing_left_behind(tmp_path):
    rate = disk_rate(tmp_path, 8 << 20)
    assert (rate is None) == (sys.platform != "linux")
    assert rate is None or 1e4 < rate < 1e13
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match=r"nowhere.*or name another folder \(--scratch\)"):
        disk_rate(tmp_path / "nowhere")
