"""What a function of the user is, as text: so that a run that continues notices that the function has changed.

The text is that of its source, of the functions and classes of the same package or script that it uses, and of the
plain values that all of them find around them. What is from elsewhere counts by name and version. Anything else, such
as an object of a class from elsewhere, may change unnoticed; then the user has to say what version the function is.
"""

from __future__ import annotations

import ast
import dis
import functools
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, GenericAlias, MethodType, ModuleType
from typing import Any

import numpy as np
from xxhash import xxh3_128_hexdigest

from shardpack.errors import OptionError

_PLAIN = (type(None), bool, int, float, complex, str, bytes, range, type(...), re.Pattern, PurePath, GenericAlias)
_SAY_VERSION = (
    "so a change of it would go unnoticed when a run is continued; "
    "pass transform_version=, any text that you change whenever the transform changes"
)


def describe_callable(function: Callable[..., Any]) -> dict[str, Any]:
    """Return, as JSON, what decides what a function does: a hash of its source, and the versions of what it uses.

    The same for the same function in every process.

    Raises:
        OptionError: Its source is missing, or it uses objects whose changes cannot be noticed.
    """
    found = _Description()
    found.add(function, "transform")
    text = json.dumps(found.texts).encode()
    return {"source": xxh3_128_hexdigest(text), "versions": dict(sorted(found.versions.items()))}


class _Description:
    """The texts of a function and of what it uses, each once, in the order in which they are found."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.versions: dict[str, str] = {}  # package -> its version
        self._seen: dict[int, Any] = {}  # by identity; kept alive, so that none is another's
        self._own: str | None = None  # the package or script of the function

    def add(self, value: Any, name: str) -> None:
        """Add a value that the function uses under a name."""
        if isinstance(value, _PLAIN):
            self.texts.append(f"{name} = {value!r}")
        elif id(value) not in self._seen:
            self._seen[id(value)] = value
            self._add_object(value, name)

    def _add_object(self, value: Any, name: str) -> None:
        if isinstance(value, ModuleType):
            self._add_module(value, name)
        elif isinstance(value, functools.partial):
            self._add_items({"function": value.func, "args": value.args, **value.keywords}, name)
        elif isinstance(value, MethodType):
            self._add_items({"function": value.__func__, "self": value.__self__}, name)
        elif isinstance(value, FunctionType):
            self._add_function(value, name)
        elif isinstance(value, (type, BuiltinFunctionType)):
            self._add_class(value, name)
        elif isinstance(value, Mapping):
            self._add_items(value, name)
        elif isinstance(value, (list, tuple, set, frozenset)):
            parts = value if isinstance(value, (list, tuple)) else sorted(value, key=repr)
            self._add_items(dict(enumerate(parts)), name)
        elif isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
            self.texts.append(f"{name} = {value.dtype} {value.shape} {xxh3_128_hexdigest(value.tobytes())}")
        elif self._is_own(type(value)):
            self._add_items({"type": type(value), **_attributes(value)}, name)
        else:
            raise OptionError(f"{name} is an object of {type(value).__qualname__}, {_SAY_VERSION}")

    def _add_items(self, items: Mapping[Any, Any], name: str) -> None:
        self.texts.append(f"{name}: {', '.join(map(repr, items))}")
        for key, value in items.items():
            self.add(value, f"{name}.{key}")

    def _add_function(self, function: FunctionType, name: str) -> None:
        if not self._is_own(function):
            self._add_by_name(f"{function.__module__}.{function.__qualname__}", name)
            return
        self.texts.append(_source_of(function, name))
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        around = {key: cell.cell_contents for key, cell in cells if _is_set(cell)}
        used = _names_used(function.__code__) & function.__globals__.keys() - around.keys()
        around.update((key, function.__globals__[key]) for key in sorted(used))
        self._add_items({"": function.__defaults__, **(function.__kwdefaults__ or {}), **around}, name)

    def _add_class(self, value: Any, name: str) -> None:
        if not isinstance(value, type) or not self._is_own(value):
            self._add_by_name(f"{value.__module__}.{value.__qualname__}", name)
            return
        self.texts.append(_source_of(value, name))
        methods = {key: method for key, method in vars(value).items() if isinstance(method, FunctionType)}
        written = {key: method for key, method in methods.items() if method.__code__.co_filename[:1] != "<"}
        self._add_items({"bases": value.__bases__, **written}, name)

    def _add_module(self, module: ModuleType, name: str) -> None:
        """Add the source of a module of the same package, whose functions are used by their names, or only a name."""
        if module.__name__.partition(".")[0] != self._own:
            self._add_by_name(module.__name__, name)
            return
        self.texts.append(_source_of_module(module, name))
        so_far = "\n".join(self.texts)  # a package also has as attributes what others have imported from it
        named = {key: value for key, value in vars(module).items() if re.search(rf"\b{re.escape(key)}\b", so_far)}
        found = {key: value for key, value in named.items() if self._is_of_another(value, module)}
        self._add_items(dict(sorted(found.items())), name)

    def _is_of_another(self, value: Any, module: ModuleType) -> bool:
        """Return whether a module has something of the same package from elsewhere, which its source does not show."""
        if isinstance(value, ModuleType):
            return value is not module and value.__name__.partition(".")[0] == self._own
        is_code = isinstance(value, (FunctionType, type))
        return is_code and value.__module__ != module.__name__ and self._is_own(value)

    def _add_by_name(self, qualified: str, name: str) -> None:
        package = qualified.partition(".")[0]
        version = getattr(sys.modules.get(package), "__version__", None)
        if version is not None and package not in sys.stdlib_module_names:
            self.versions[package] = str(version)
        self.texts.append(f"{name} = {qualified}")

    def _is_own(self, value: Any) -> bool:
        """Return whether a function or class is from where the transform is; what it imports counts by name."""
        package = str(getattr(value, "__module__", None)).partition(".")[0]
        if self._own is None:
            self._own = package
        return package == self._own and package != "builtins"


def _is_set(cell: CellType) -> bool:
    """Return whether a variable of an enclosing function has a value yet."""
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def _attributes(value: Any) -> dict[str, Any]:
    slots = (name for base in type(value).__mro__ for name in getattr(base, "__slots__", ()))
    return {name: getattr(value, name) for name in (*getattr(value, "__dict__", ()), *slots) if hasattr(value, name)}


def _names_used(code: CodeType) -> set[str]:
    inner = (constant for constant in code.co_consts if isinstance(constant, CodeType))
    own = {step.argval for step in dis.get_instructions(code) if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"}}
    return own.union(*map(_names_used, inner))


def _source_of(value: Any, name: str) -> str:
    try:
        source = textwrap.dedent(inspect.getsource(value))
    except (OSError, TypeError) as error:
        raise OptionError(f"the source of {name} cannot be read ({error}), {_SAY_VERSION}") from error
    code = getattr(value, "__code__", None)
    called = value.__name__ if code is None else code.co_name
    # Of code from `eval` and `exec`, Python 3.13 finds some other lines.
    start = "lambda" if called == "<lambda>" else f"{'class' if code is None else 'def'} {called}"
    if start not in source or (code is not None and code.co_filename == "<string>"):
        raise OptionError(f"the source of {name} cannot be read, {_SAY_VERSION}")
    return source if code is None or called != "<lambda>" else _lambda_in(source, code)


def _source_of_module(module: ModuleType, name: str) -> str:
    try:
        source = module.__spec__.loader.get_source(module.__name__)  # type: ignore[union-attr]
    except (AttributeError, ImportError, OSError):
        source = None
    if source is None:
        raise OptionError(f"the source of {name} cannot be read, {_SAY_VERSION}")
    return str(source)


def _lambda_in(source: str, code: CodeType) -> str:
    """Return a lambda of a statement, without what is around it: arguments of `pack`, for example.

    Of several, which look alike to Python, all are returned, and the names and constants of this one.
    """
    found = []
    for start in (match.start() for match in re.finditer(r"\blambda\b", source)):
        for stop in range(len(source), start, -1):
            try:
                parsed = ast.parse(f"({source[start:stop]}\n)", mode="eval")
            except (SyntaxError, ValueError):
                continue
            if isinstance(parsed.body, ast.Lambda):
                found.append(source[start:stop].strip())
                break
    if len(found) == 1:
        return found[0]
    constants = [constant for constant in code.co_consts if isinstance(constant, _PLAIN)]
    own = (code.co_varnames, code.co_names, code.co_freevars, constants)
    return f"{chr(10).join(found) or source} {own!r}"
