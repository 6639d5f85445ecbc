"""Functions of the user as bytes, for worker processes: by value where a worker could not import them.

A worker does not run the script or notebook that calls us, so a function from there travels with its code, its defaults
and all that it uses from around it. A function of a module that can be imported travels as its name.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

from shardpack.errors import MissingDependencyError, OptionError


def dump_function(function: Callable[..., Any], *, called: str) -> bytes:
    """Return a function, or any object that can be called, for `load_function` in this or another process.

    Raises:
        OptionError: It holds something that cannot leave this process, such as a lock.
        MissingDependencyError: cloudpickle is not installed.
    """
    try:
        import cloudpickle
    except ImportError as error:
        raise MissingDependencyError(f"{called} needs cloudpickle; run pip install cloudpickle") from error
    try:
        with _by_value(sys.modules.get(getattr(function, "__module__", None) or "")):
            dumped: bytes = cloudpickle.dumps(function)
    except Exception as error:
        raise OptionError(
            f"{called} cannot be sent to another process: {error}; create what it needs inside of it"
        ) from error
    return dumped


def load_function(dumped: bytes) -> Callable[..., Any]:
    """Return what `dump_function` got. For bytes of this program's own processes only: loading them runs code."""
    loaded: Callable[..., Any] = pickle.loads(dumped)
    return loaded


@contextmanager
def _by_value(module: ModuleType | None) -> Iterator[None]:
    """Let what a module defines be pickled by value, if workers could not import it."""
    import cloudpickle

    if module is None or module.__name__ == "__main__" or _is_importable(module):
        yield  # cloudpickle pickles "__main__" by value by itself
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def _is_importable(module: ModuleType) -> bool:
    """Return whether an import by name would find this very module, also where it is not loaded yet."""
    name, file = module.__name__, getattr(module, "__file__", None)
    if file is None:
        return name in sys.builtin_module_names or getattr(module.__spec__, "origin", None) == "frozen"
    parent = sys.modules.get(name.rpartition(".")[0])
    found = PathFinder.find_spec(name, getattr(parent, "__path__", None))
    return found is not None and found.origin == file
