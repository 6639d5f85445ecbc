"""Folders in memory, where there are such: these tests sync a thousand files, and none of them cuts the power."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield Path(path)


@pytest.fixture(scope="module")
def new_folder():
    """Return a function that makes a folder; for examples of one test."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as path:
        yield lambda: Path(tempfile.mkdtemp(dir=path))
