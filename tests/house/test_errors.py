"""Errors survive workers and read alike: one message, one line, one family."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pickle
import re

import pytest

import shardpack
from shardpack import errors
from shardpack.cli.main import COMMANDS
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


def _texts(path):
    """Yield (line, text) of each string of a module that is no docstring; what is inserted reads "{}"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            left_out.update(map(id, node.values))
            yield node.lineno, "".join(v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def _parameters():
    """Return the names of all parameters of each public function, method and class, by its name."""
    public = {name: getattr(shardpack, name) for name in shardpack.__all__}
    methods = [vars(value).items() for value in public.values() if inspect.isclass(value)]
    callables = {name: value for name, value in itertools.chain(public.items(), *methods) if inspect.isroutine(value)}
    classes = {name: value.__init__ for name, value in public.items() if inspect.isclass(value)}
    return {name: set(inspect.signature(value).parameters) for name, value in {**callables, **classes}.items()}


NAMED_OPTION = re.compile(r"(?:\b(\w+)\()?(?<![\w/?&:-])([a-z_]+)=(?!=)")
NAMED_FLAG = re.compile(r'(?:"shardpack (\w+)[^"]*?)?(?<![\w-])(--[a-z][a-z-]*)')
# Of PyTorch's DataLoader; of `tar` and `xz`; within the values of `compress`, of a resize, and of fractions.
FOREIGN = {"num_workers", "--sparse", "--no-xattrs", "--no-acls", "--format", "shards"}
FOREIGN |= {"short", "long", "fit", "cover", "exact", "train"}
# Named by what a command will use that is not there yet; at the end there are none.
COMING: set[str] = set()


def test_every_option_that_a_message_names_exists():
    parameters, texts = _parameters(), [(path, *text) for path in SOURCES for text in _texts(path)]
    everywhere = set().union(*parameters.values())
    named = [(path, line, *found) for path, line, text in texts if " " in text for found in NAMED_OPTION.findall(text)]
    assert len(named) > 20
    assert [
        f"{path.name}:{line} names {option}="
        for path, line, function, option in named
        if "cli" not in path.parts and option not in parameters.get(function, everywhere) | FOREIGN | COMING
    ] == []
    assert not COMING & everywhere, "they are there: take them off the list"


def test_every_flag_that_a_message_names_exists():
    commands = {name: importlib.import_module(f"shardpack.cli.{name}").command for name in COMMANDS}
    flags = {name: {flag for param in command.params for flag in param.opts} for name, command in commands.items()}
    everywhere = {"--help", "--debug", "--version"}.union(*flags.values())
    assert [
        f"{path.name}:{line} names {flag}"
        for path in SOURCES
        for line, text in _texts(path)
        for command, flag in (NAMED_FLAG.findall(text) if " " in text else ())
        if flag not in {"--help", *flags.get(command, everywhere)} | FOREIGN | COMING
    ] == []
    assert not COMING & everywhere, "they are there: take them off the list"
