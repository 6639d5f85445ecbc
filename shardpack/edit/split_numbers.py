"""Which split each sample is in: drawn by fractions, or as lists of keys or a value of the labels say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from shardpack.edit.base import EditBase
from shardpack.edit.find_keys import find_keys
from shardpack.edit.label_values import read_values
from shardpack.errors import OptionError, SourceError
from shardpack.format.split_names import split_names_problem
from shardpack.order.split_draw import NONE, draw_splits
from shardpack.runtime.arrays import Integers
from shardpack.runtime.progress import Progress
from shardpack.sources.json_labels import compact_json

Fractions = Mapping[str, float | str | Fraction]
Lists = Mapping[str, "str | os.PathLike[str] | Iterable[str]"]
_ROUNDING = Fraction(1, 10**9)  # what the sum of fractions may be beside 1: three floats of a third


def parse_fractions(fractions: Fractions) -> dict[str, Fraction]:
    """Return the fractions as exact numbers: 0.1 is a tenth, "1/3" a third; those that nearly make 1 make it.

    Raises:
        OptionError: A name cannot be that of a split, or fractions are not positive, or more than 1 in sum.
    """
    if not isinstance(fractions, Mapping) or not fractions:
        raise OptionError(f'fraction is {fractions!r:.60}; expected a dict such as {{"train": 0.9, "val": 0.1}}')
    check_names(fractions)
    exact = {name: _fraction(name, value) for name, value in fractions.items()}
    total = sum(exact.values(), Fraction(0))
    if -_ROUNDING <= total - 1 <= _ROUNDING:
        return {name: value / total for name, value in exact.items()}
    if total > 1:
        raise OptionError(f"the fractions add up to {float(total):g}, expected at most 1; make them smaller")
    return exact


def _fraction(name: str, value: Any) -> Fraction:
    try:
        exact = Fraction(value if isinstance(value, (str, Fraction)) else str(value))
    except (ValueError, ZeroDivisionError):
        exact = Fraction(0)
    if isinstance(value, bool) or not 0 < exact <= 1:
        raise OptionError(f"the fraction of {name!r} is {value!r:.60}, expected more than 0 and at most 1")
    return exact


def check_names(names: Iterable[Any]) -> None:
    """Raise OptionError unless splits may have these names together."""
    names = list(names)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise OptionError(f"the name of a split is {wrong[0]!r:.60}, expected a text; rename it")
    if problem := split_names_problem(names):
        raise OptionError(problem)


def by_fractions(
    base: EditBase,
    visible: Integers,
    fractions: Mapping[str, Fraction],
    *,
    stratify: str | None,
    seed: int,
    progress: Progress,
) -> Integers:
    """Return (n) for each visible sample the number of its split in `fractions`, or `NONE` (SPEC 7.8)."""
    strata = np.zeros(len(visible), np.int64)
    if stratify is not None:
        number_of: dict[bytes, int] = {}
        values = read_values(base, visible, stratify, progress)
        strata = np.array([number_of.setdefault(compact_json(value), len(number_of)) for value in values], np.int64)
    return draw_splits(strata, list(fractions.values()), seed=seed)


def by_column(base: EditBase, visible: Integers, column: str, progress: Progress) -> tuple[list[str], Integers]:
    """Return the names of splits that are values of labels, and (n) the number of each visible sample's, or `NONE`.

    Raises:
        SourceError: A value cannot be the name of a split.
    """
    number_of: dict[str, int] = {}
    numbers = np.full(len(visible), NONE, np.int64)
    for sample, value in enumerate(read_values(base, visible, column, progress)):
        if value is None:
            continue
        if not isinstance(value, str):
            raise SourceError(f"{column!r} of sample {sample} is {value!r:.60}, expected the name of a split")
        numbers[sample] = number_of.setdefault(value, len(number_of))
    check_names(number_of)
    return list(number_of), numbers


def by_lists(base: EditBase, visible: Integers, lists: Mapping[str, Sequence[str]], progress: Progress) -> Integers:
    """Return (n) for each visible sample the number of the list that has its key, or `NONE`.

    Raises:
        UnknownKeyError: A key is not one of the dataset.
        SourceError: A list is empty, or a key is in two.
    """
    split_of: dict[str, int] = {}
    names = list(lists)
    for number, (name, keys) in enumerate(lists.items()):
        for key in keys:
            if (other := split_of.setdefault(key, number)) != number:
                raise SourceError(f"the key {key!r} is in the lists of {names[other]!r} and {name!r}; keep one")
        if not keys:
            raise SourceError(f"the list of split {name!r} is empty; leave it out")
    found = find_keys(base, list(split_of), what="lists of keys", progress=progress)
    numbers = np.full(len(visible), NONE, np.int64)
    numbers[np.searchsorted(visible, found)] = list(split_of.values())
    return numbers


def listed_keys(name: str, listed: str | os.PathLike[str] | Iterable[str]) -> list[str]:
    """Return the keys of a list: the lines of a file without blank ones, or what code passes.

    Raises:
        SourceError: The file cannot be read.
        OptionError: A key is not a text.
    """
    if isinstance(listed, (str, os.PathLike)):
        try:
            text = Path(listed).read_bytes().decode("utf-8-sig", "surrogateescape")
        except OSError as error:
            raise SourceError(f"cannot read {os.fspath(listed)!r}: {error.strerror or error}; name a file") from error
        return [line for line in text.replace("\r\n", "\n").split("\n") if line]
    keys = list(listed)
    if wrong := [key for key in keys if not isinstance(key, str)]:
        raise OptionError(f"a key of split {name!r} is {wrong[0]!r:.60}, expected a text; correct it")
    return keys
