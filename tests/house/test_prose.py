"""Docstrings and comments are plain English, and name modules and files that exist."""

from __future__ import annotations

import ast
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "shardpack"
SOURCES = sorted(PACKAGE.rglob("*.py"))
# Rooms and modules that keep to FAULTS below; the list only grows, until it is the whole package.
PLAIN = (
    "__init__.py",
    "_dataloader.py",
    "api.py",
    "cli",
    "codecs",
    "commit",
    "dataset.py",
    "edit",
    "errors.py",
    "export",
    "format",
    "index",
    "inspect",
    "order",
    "read",
    "runtime",
    "sources",
    "storage",
    "stream",
    "table",
    "torch.py",
    "webdataset.py",
    "write",
)
FAULTS = {
    'say "is not a ..." or "is missing"': re.compile(r"\bis no(?:ne)?\b(?! (?:longer|less|more)\b)"),
    "say what is wrong, with a subject": re.compile(r":\s+It (?:is|has|may)(?: not| none)?\.(?=\s|$)"),
}
FILE = re.compile(r"`([\w./-]+\.(?:py|md))`")
CONSTANT = re.compile(r"`([a-z_]+)\.([A-Z_]+)`")


@cache
def texts_of(path: Path) -> list[tuple[int, str]]:
    """Return (line, text) of each docstring and comment of a module."""
    return list(_texts_of(path))


def _texts_of(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            yield node.body[0].lineno, text
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                yield token.start[0], token.string


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def is_plain(path: Path) -> bool:
    return any(name_of(path) == room or name_of(path).startswith(f"{room}/") for room in PLAIN)


@pytest.mark.parametrize("path", [path for path in SOURCES if is_plain(path)], ids=name_of)
def test_prose_is_plain(path):
    for line, text in texts_of(path):
        for advice, fault in FAULTS.items():
            assert not (match := fault.search(text)), f"{name_of(path)}:{line}: {match[0]!r}: {advice}"


def test_rooms_that_are_plain_exist():
    assert not [room for room in PLAIN if not (PACKAGE / room).exists()]


@pytest.mark.parametrize(
    "text",
    [
        "this is no file",
        "the key is none of them",
        "Raises:\n    OptionError: It is none.",
        "    KeyError: It may not.",
    ],
)
def test_faults_are_found(text):
    assert any(fault.search(text) for fault in FAULTS.values())


@pytest.mark.parametrize("text", ["is no longer there", "is not", "is nonempty", "OptionError: It is not a pair."])
def test_plain_prose_passes(text):
    assert not any(fault.search(text) for fault in FAULTS.values())


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_files_that_prose_names_exist(path):
    for line, text in texts_of(path):
        for name in FILE.findall(text):
            places = (path.parent, PACKAGE, ROOT)
            assert any((place / name).is_file() for place in places), f"{name_of(path)}:{line}: no file {name}"


def test_constants_that_prose_names_exist():
    modules: dict[str, str] = {}
    for path in SOURCES:
        modules[path.stem] = modules.get(path.stem, "") + path.read_text(encoding="utf-8")
    for path in SOURCES:
        for line, text in texts_of(path):
            for module, constant in CONSTANT.findall(text):
                defined = re.search(rf"^{constant}\b.* = ", modules.get(module, ""), re.MULTILINE)
                known = defined or module in sys.stdlib_module_names
                assert known, f"{name_of(path)}:{line}: no constant {module}.{constant}"
