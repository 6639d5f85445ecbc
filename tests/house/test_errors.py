"""Errors survive workers and read alike: one message, one line, one family."""

from __future__ import annotations

import ast
import inspect
import pickle
import re

import pytest

from shardpack import errors
from tests.conftest import ROOT

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
SOURCES = sorted((ROOT / "shardpack").rglob("*.py"))
# Raised besides our own: what the language's protocols ask for, and click's own errors in cli/.
PROTOCOL = {"AttributeError", "NotImplementedError", "StopIteration", "TypeError"}
# Caught within format/ and turned into one of ours, which knows the shard's name.
CAUGHT_AT_ONCE = {(f"{module}.py", "ValueError") for module in ("strict_json", "tar_header", "tar_extended")}
# Raised for a map that the system refuses, as `mmap` does; storage/local_file.py catches it.
CAUGHT_AT_ONCE.add(("file_map.py", "OSError"))
# Within storage/: what one request ended with, until `RemoteStore` gives up and says it in ours.
CAUGHT_AT_ONCE |= {(path.name, "RequestError") for path in (ROOT / "shardpack" / "storage").rglob("*.py")}

every_class = pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)


@every_class
def test_constructor_takes_one_positional_message(error):
    parameters = list(inspect.signature(error).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    assert len(positional) == 1
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[1:])


@every_class
def test_has_no_attribute_called_message(error):
    assert not hasattr(error, "message")  # PyTorch would call error(message=...)
    assert not hasattr(error("text"), "message")


@every_class
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_with_its_context(error, protocol):
    original = error("shard is cut short", shard="shard-000001.tar", path="a.index", key="cat/0001", offset=512)
    copy = pickle.loads(pickle.dumps(original, protocol))
    assert type(copy) is error
    assert str(copy) == str(original)
    assert vars(copy) == vars(original)


@every_class
def test_rebuilds_from_its_own_text(error):
    text = str(error("shard is cut short", shard="shard-000001.tar", offset=512))
    assert str(error(text)) == text


@every_class
def test_text_is_one_plain_line(error):
    assert str(error("no such key")) == "no such key"  # not the quoted repr of KeyError
    assert str(error("bad header", shard="a.tar", key="k", offset=0)) == "bad header (shard='a.tar', key='k', offset=0)"
    assert str(error("bad header", path="x.index", offset=8)) == "bad header (path='x.index', offset=8)"
    assert "\n" not in str(error("no such key", key="a\nb"))


@every_class
def test_is_caught_as_one_family_and_as_a_builtin(error):
    assert issubclass(error, errors.ShardpackError)
    assert error.__doc__
    builtins = [c for c in error.__mro__ if c.__module__ == "builtins"]
    assert error is errors.ShardpackError or len(builtins) > len(errors.ShardpackError.__mro__) - 1


def test_tree_in_the_docstring_matches_the_classes():
    drawn, above = {}, []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^ {4}([│ ├└─]*)([A-Z]\w+Error)(?: \((\w+)\))?(?: {2,}|$)", line)
        if match:
            depth = len(match[1]) // 4
            above[depth:] = [match[2]]
            parents = [above[depth - 1]] if depth else ["Exception"]
            drawn[match[2]] = tuple(parents + ([match[3]] if match[3] else []))
    assert drawn == {c.__name__: tuple(base.__name__ for base in c.__bases__) for c in CLASSES}


def _raises():
    names = {c.__name__ for c in CLASSES}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                called = node.exc.func
                name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
                yield path, node.exc, name, name in names


def test_only_the_family_is_raised():
    for path, call, name, ours in _raises():
        if name.endswith(("Error", "Exception")) and "cli" not in path.parts:
            assert ours or name in PROTOCOL or (path.name, name) in CAUGHT_AT_ONCE, (
                f"{path.name}:{call.lineno} raises {name}"
            )


def test_messages_follow_the_house():
    """One positional argument; no full stop or exclamation mark; no capital first, unless it is a name."""
    for path, call, _, ours in _raises():
        if not ours:
            continue
        where = f"{path.name}:{call.lineno}"
        assert len(call.args) == 1, where
        message = call.args[0]
        pieces = message.values if isinstance(message, ast.JoinedStr) else [message]
        if isinstance(pieces[-1], ast.Constant):
            assert not str(pieces[-1].value).endswith((".", "!", "\n")), where
        if isinstance(pieces[0], ast.Constant):
            assert not re.match(r"[A-Z][a-z]+ ", str(pieces[0].value)), where
