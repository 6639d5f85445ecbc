"""Heavy packages that tests of formats stand on; tools/test --readers brings all of them.

Once Lance is imported, its process warns at every fork, which fails tests of other things; so these tests run alone.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

import pytest


def needs(name: str) -> ModuleType:
    """Return an installed package; without it the module of tests is skipped by name, or fails where it is required."""
    if not os.environ.get("SHARDPACK_ALONE"):
        pytest.skip(f"{name} must be alone in its process; tools/test --readers does that", allow_module_level=True)
    try:
        return importlib.import_module(name)
    except ImportError:
        reason = f"{name} is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            pytest.fail(reason + ", and SHARDPACK_REQUIRE_READERS is set", pytrace=False)
        pytest.skip(reason, allow_module_level=True)
