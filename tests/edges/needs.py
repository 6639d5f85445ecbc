"""Optional packages that tests of the edges stand on, and the datasets they read."""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

import pytest


def needs(name: str) -> ModuleType:
    """Return an installed package; without it the test, or the module of tests, is skipped by name.

    It fails instead where SHARDPACK_REQUIRE_TORCH is set, as `tools/test --torch` does.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        reason = f"{name} is not installed; tools/test --torch brings all of them"
        if os.environ.get("SHARDPACK_REQUIRE_TORCH"):
            raise RuntimeError(f"{reason}, and SHARDPACK_REQUIRE_TORCH is set") from error
        pytest.skip(reason, allow_module_level=True)


# DataLoader counts cores: the number of workers is the point here. Threads of numpy's linear algebra are idle.
many_workers = [
    pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # torchdata 0.11 with torch 2.13
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def numbers(batch: list[dict[str, Any]]) -> list[int]:
    """Collate samples of `numbered` to their positions."""
    return [int(sample["json"][10:-1]) for sample in batch]
