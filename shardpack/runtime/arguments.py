"""Check arguments at the public edge, once: `as_integer`, `as_number`, `one_of`, `as_jobs`. One style of message.

Integers are Python's and NumPy's alike; a bool is never one, because `pack(max_shard_samples=True)` is a mistake.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, TypeVar

from shardpack.errors import OptionError

Choice = TypeVar("Choice")


def as_integer(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return an integer argument as an int.

    Raises:
        OptionError: It is none, or outside of minimum <= value <= maximum.
    """
    number = integer_or_none(value)
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if number is None or not low <= number <= high:
        raise OptionError(f"{name} is {_shown(value)}, expected an integer{_bounds(minimum, maximum)}")
    return number


def integer_or_none(value: Any) -> int | None:
    """Return an integer, NumPy's among them, as an int; None for anything else and for bools."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # NumPy's, unimported
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_number(name: str, value: Any) -> float:
    """Return an argument above 0 as a float.

    Raises:
        OptionError: It is no number, or not above 0, or beyond 10^9.
    """
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < 1e9:
        raise OptionError(f"{name} is {_shown(value)}, expected a number above 0")
    return number


def one_of(name: str, value: Any, choices: Sequence[Choice]) -> Choice:
    """Return an argument that is one of the choices.

    Raises:
        OptionError: It is none of them; all are named.
    """
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise OptionError(f"{name} is {_shown(value)}; choose {_listed(choices)}")


def as_jobs(jobs: Any) -> int | None:
    """Return a number of workers, or None where the caller leaves it to us.

    Raises:
        OptionError: It is neither.
    """
    return None if jobs is None else as_integer("jobs", jobs, minimum=1)


def _bounds(minimum: int | None, maximum: int | None) -> str:
    if minimum is None:
        return "" if maximum is None else f" of at most {maximum}"
    return f" of at least {minimum}" if maximum is None else f" from {minimum} to {maximum}"


def _listed(choices: Sequence[Any]) -> str:
    shown = [repr(choice) for choice in choices if choice is not None]
    words = " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{words}, or leave it out" if None in choices else words


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 100 else f"{shown[:97]}..."
