"""The public names are a promise: exact, sorted, documented."""

from __future__ import annotations

import inspect
import re
import sys

import pytest

import shardpack

PUBLIC = [
    "AppendReport",
    "CenterCrop",
    "CopyReport",
    "Dataset",
    "EditReport",
    "ExportReport",
    "FieldLocation",
    "GcReport",
    "IndexReport",
    "LayerReport",
    "Loader",
    "LogEntry",
    "MergeReport",
    "MixedStream",
    "PackReport",
    "RandomResizedCrop",
    "RelabelReport",
    "RepairReport",
    "Sample",
    "SampleLocation",
    "ShardInfo",
    "ShardWriter",
    "ShardpackError",
    "SplitReport",
    "Stats",
    "Stream",
    "VerifyReport",
    "append",
    "attach",
    "copy",
    "delete",
    "detach",
    "export",
    "extract",
    "gc",
    "index",
    "log",
    "merge",
    "mix",
    "open",
    "pack",
    "relabel",
    "repair",
    "split",
    "table",
    "unescape_key",
    "verify",
]


def test_names_are_exact_and_sorted():
    assert list(shardpack.__all__) == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


def test_nothing_else_looks_public():
    visible = {name for name in dir(shardpack) if not name.startswith("_")} - {
        "annotations",
        "TYPE_CHECKING",
        "lazy_names",
    }
    assert {name for name in visible if not inspect.ismodule(getattr(shardpack, name))} == set(PUBLIC)


def test_names_stay_what_they_are_when_modules_are_imported():
    """`shardpack.index` is a package as well, which importing would put in the place of the function."""
    import shardpack.index.run

    assert shardpack.index is sys.modules["shardpack.index.run"].index
    assert sys.modules["shardpack.index"] is not shardpack.index


def test_other_names_are_none():
    with pytest.raises(AttributeError, match="module 'shardpack' has no attribute 'opne'"):
        _ = shardpack.opne


def test_everything_public_is_documented():
    for name in PUBLIC:
        public = getattr(shardpack, name)
        assert inspect.getdoc(public), name
        if not inspect.isclass(public):
            continue
        for attribute, value in vars(public).items():
            if not attribute.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
                listed = f"    {attribute}: " in (public.__doc__ or "")  # under "Attributes:"
                assert inspect.getdoc(value) or listed, f"{name}.{attribute}"


def test_version_is_plain():
    assert re.fullmatch(r"\d+\.\d+\.\d+", shardpack.__version__)
