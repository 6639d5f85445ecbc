"""Check arguments once, where users pass them: integers, numbers, names, choices, workers. All messages read alike.

NumPy integers are integers. A bool is not: `pack(max_shard_samples=True)` is a mistake.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from shardpack.errors import OptionError

Choice = TypeVar("Choice")


def as_integer(name: str, value: Any, *, minimum: int | None = None, maximum: int | None = None) -> int:
    """Return an integer argument as an int.

    Raises:
        OptionError: The value is not an integer, or not within minimum <= value <= maximum.
    """
    number = integer_or_none(value)
    low = -math.inf if minimum is None else minimum
    high = math.inf if maximum is None else maximum
    if number is None or not low <= number <= high:
        raise OptionError(f"{name} is {_shown(value)}, expected an integer{_bounds(minimum, maximum)}")
    return number


def integer_or_none(value: Any) -> int | None:
    """Return a Python or NumPy integer as an int, and None for anything else, bools included."""
    if isinstance(value, bool) or type(value).__name__ in ("bool", "bool_"):  # NumPy's bool, without importing NumPy
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_number(name: str, value: Any) -> float:
    """Return an argument above 0 as a float.

    Raises:
        OptionError: The value is not a number between 0 and 10^9, both excluded.
    """
    try:
        number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number < 1e9:
        raise OptionError(f"{name} is {_shown(value)}, expected a number above 0")
    return number


def as_names(option: str, names: Any) -> tuple[str, ...]:
    """Return the different names in an argument, in its order.

    Raises:
        OptionError: It is a single text, or holds something else than texts.
    """
    if isinstance(names, str):
        raise OptionError(f"{option} is a list of names; write {option}=[{names!r}]")
    given = tuple(names) if isinstance(names, Iterable) else (names,)
    if wrong := [name for name in given if not isinstance(name, str)]:
        raise OptionError(f"{option} has {_shown(wrong[0])} where a name is expected; write {option}=['jpg', 'json']")
    return tuple(dict.fromkeys(given))


def one_of(name: str, value: Any, choices: Sequence[Choice]) -> Choice:
    """Return the choice that an argument equals.

    Raises:
        OptionError: The value is not one of the choices; the message lists them.
    """
    for choice in choices:
        if isinstance(value, type(choice)) and value == choice:
            return choice
    raise OptionError(f"{name} is {_shown(value)}; choose {_listed(choices)}")


def as_jobs(jobs: Any) -> int | None:
    """Return a number of workers, or None if the library should choose it.

    Raises:
        OptionError: The value is not None and not an integer of at least 1.
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
