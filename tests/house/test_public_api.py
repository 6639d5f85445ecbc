"""The public names are a promise: exact, sorted, documented."""

from __future__ import annotations

import inspect
import re

import shardpack

PUBLIC = [
    "CopyReport",
    "Dataset",
    "FieldLocation",
    "IndexReport",
    "Loader",
    "MixedStream",
    "PackReport",
    "Sample",
    "SampleLocation",
    "ShardInfo",
    "ShardWriter",
    "ShardpackError",
    "Stats",
    "Stream",
    "VerifyReport",
    "copy",
    "extract",
    "index",
    "mix",
    "open",
    "pack",
    "unescape_key",
    "verify",
]


def test_names_are_exact_and_sorted():
    assert list(shardpack.__all__) == PUBLIC
    assert sorted(PUBLIC) == PUBLIC


def test_nothing_else_looks_public():
    submodules = {name for name, value in vars(shardpack).items() if inspect.ismodule(value)}
    visible = {name for name in vars(shardpack) if not name.startswith("_")} - submodules - {"annotations"}
    assert visible == set(PUBLIC)


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
