"""A function is described by its source and what that uses; what may change unnoticed asks for a version."""

from __future__ import annotations

import functools
import importlib
import json
import linecache
import math
import re
import sys
import threading
from pathlib import PurePosixPath

import numpy as np
import pytest

from shardpack.errors import OptionError
from shardpack.write.callable_source import describe_callable

FACTOR = 3
FOLDER = PurePosixPath("a")
TABLE = {"a": [1, 2], "b": {"x", "y"}}


def helper(x):
    return x * FACTOR


def uses_helper(fields):
    return {name: helper(value) for name, value in fields.items()}


def uses_more(fields, size=(3, 4), *, path=None):
    return np.zeros(size), TABLE, path, FOLDER, re.compile("x"), math.pi, fields


class Resize:
    def __init__(self, size):
        self.size = size

    def __call__(self, fields):
        return helper(fields)

    def method(self, fields):
        return fields, self.size


class Slotted:
    __slots__ = ("size", "unset")

    def __init__(self, size):
        self.size = size

    def __call__(self, fields):
        return fields


def closure(value):
    return lambda fields: (fields, value)


@pytest.mark.parametrize(
    "function",
    [
        uses_helper,
        uses_more,
        Resize(3),
        Resize(3).method,
        functools.partial(uses_more, size=3),
        closure(3),
        len,
        helper,
    ],
)
def test_the_description_is_json_and_the_same_each_time(function):
    found = describe_callable(function)
    assert found == describe_callable(function)
    assert json.loads(json.dumps(found)) == found


def test_versions_of_what_is_used_are_named():
    assert describe_callable(uses_more)["versions"] == {"numpy": np.__version__}
    assert describe_callable(uses_helper)["versions"] == {}


@pytest.mark.parametrize(("name", "value"), [("FACTOR", 4), ("helper", uses_more)])
def test_a_change_of_what_a_function_uses_is_noticed(monkeypatch, name, value):
    before = describe_callable(uses_helper)
    monkeypatch.setitem(uses_helper.__globals__, name, value)
    assert describe_callable(uses_helper) != before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Resize(3), Resize(4)),
        (Slotted(3), Slotted(4)),
        (Resize(3).method, Resize(4).method),
        (closure(3), closure(4)),
        (closure([1, 2]), closure([1, 3])),
        (closure(np.arange(3)), closure(np.arange(4))),
        (functools.partial(uses_more, size=3), functools.partial(uses_more, size=4)),
        (functools.partial(helper, 1), functools.partial(uses_helper, 1)),
        (lambda fields: fields, lambda other: other),
    ],
)
def test_functions_that_differ_are_told_apart(one, other):
    assert describe_callable(one) != describe_callable(other)


def test_what_is_around_a_lambda_does_not_count():
    def options(*_, **__):
        return __["transform"]

    one = options("out", transform=lambda fields: {**fields, "txt": "x"}, jobs=1)
    two = options(
        "other",
        transform=lambda fields: {**fields, "txt": "x"},
        jobs=2,
    )
    assert describe_callable(one) == describe_callable(two)


def recursive(fields):
    return recursive(fields) if fields else None


def test_a_function_that_calls_itself_has_a_description():
    assert describe_callable(recursive)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (closure(threading.Lock()), r"transform.value is an object of lock, so a change of it would go unnoticed"),
        (eval("lambda fields: fields"), r"the source of transform cannot be read"),
    ],
)
def test_what_may_change_unnoticed_asks_for_a_version(function, says):
    with pytest.raises(OptionError, match=says) as caught:
        describe_callable(function)
    assert "pass transform_version=" in str(caught.value)


def test_a_change_in_a_module_of_the_same_package_is_noticed(tmp_path, monkeypatch):
    package = tmp_path / "mine_of_test"
    package.mkdir()
    texts = {
        "__init__": "",
        "deep": "def deeper(x):\n    return x\n",
        "more": "from mine_of_test.deep import deeper\n\ndef more(x):\n    return deeper(x)\n",
        "helpers": "from mine_of_test import helpers, more\n\ndef help(x):\n    return more.more(x)\n",
        "transform": "import mine_of_test.helpers\n\ndef transform(x):\n    return mine_of_test.helpers.help(x)\n",
        "other": "",
    }
    monkeypatch.syspath_prepend(tmp_path)

    def described():
        for name in [name for name in sys.modules if name.startswith(package.name)]:
            monkeypatch.delitem(sys.modules, name)
        for name, text in texts.items():
            (package / f"{name}.py").write_text(text)
        linecache.clearcache()
        importlib.invalidate_caches()
        return describe_callable(importlib.import_module(f"{package.name}.transform").transform)

    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    seen = [described()]
    described()
    transform = importlib.import_module(f"{package.name}.transform").transform
    importlib.import_module(f"{package.name}.other")  # is now an attribute of the package, but nobody uses it
    assert describe_callable(transform) == seen[0]
    for name in ("helpers", "more", "deep"):
        texts[name] = texts[name].replace("return", "return 1 +")
        seen.append(described())
        assert seen[-1] not in seen[:-1]
