"""Libraries that are too heavy for each run of the tests: `tools/try_judges` installs each and runs its tests here."""

from __future__ import annotations

import importlib.util
import os
import warnings
from types import ModuleType

import pytest


def heavy(name: str, judge: str) -> ModuleType:
    """Return an installed library; without it the module of tests is skipped, or fails under `tools/try_judges`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # theirs
            return importlib.import_module(name)
    except ImportError:
        if os.environ.get("SHARDPACK_REQUIRE_HEAVY"):
            raise
        pytest.skip(f"{name} is not installed; tools/try_judges {judge} brings it", allow_module_level=True)


# Of every module of tests here: warnings of these libraries are theirs.
marks = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def without_kernels() -> None:
    """Let torchvision, which is built for CUDA, be imported beside PyTorch for the CPU; its readers need no kernel."""
    if importlib.util.find_spec("torchvision") is None:
        return  # what asks for it is skipped
    library = importlib.import_module("torch").library
    for name in ("nms", "qnms"):
        library.define(f"torchvision::{name}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
