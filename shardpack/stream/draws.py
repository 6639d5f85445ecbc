"""Which samples a balanced or weighted stream draws, and how often: its options, with columns of the label table.

    balance="class"          `Groups` of the column, all weights 1    --> `ClassOrders`
    weights={"cat": 3, ...}  `Groups` of the column class             --> `ClassOrders`
    weights="difficulty"     a number for each sample                 --> `SampleOrders`

The orders themselves are arithmetic (`order/balanced.py`, `order/weighted.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.stream_state import shown
from shardpack.order.balanced import ClassOrders
from shardpack.order.drawn import DrawnOrders
from shardpack.order.groups import Classes, Groups
from shardpack.order.positions import Positions
from shardpack.order.quotas import MAX_SLOTS, integer_weights
from shardpack.order.weighted import SampleOrders
from shardpack.runtime.arguments import as_integer
from shardpack.storage.scratch_array import scratch_array
from shardpack.stream.options import StreamOptions
from shardpack.stream.stream_input import StreamInput
from shardpack.table.by_class import group_positions
from shardpack.table.numbers import column_numbers

CLASS_COLUMN = "class"
_SHOWN = 8  # names of classes in an error
_PIECE = 1 << 20  # weights checked at once
_SHUFFLES = ("none", "global", False, True)  # True: shuffled in any way


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Where classes and weights come from: functions of the samples and the name of a column."""

    groups: Callable[[StreamInput, str], Groups]
    numbers: Callable[[StreamInput, str], npt.NDArray[np.float64]]


def _groups(stream_input: StreamInput, column: str) -> Groups:
    cache = stream_input.cache
    return cache.columns.groups.get(column, lambda: group_positions(cache.stores.sidecars, cache.manifest, column))


def _numbers(stream_input: StreamInput, column: str) -> npt.NDArray[np.float64]:
    cache = stream_input.cache
    return cache.columns.numbers.get(column, lambda: column_numbers(cache.stores.sidecars, cache.manifest, column))


FROM_TABLE = LabelColumns(_groups, _numbers)


@dataclass(frozen=True, eq=False)
class Draws:
    """What a stream draws from.

    Attributes:
        orders: The epochs.
        classes: The classes and how the weights are in proportion; None if each sample has a weight of its own.
    """

    orders: DrawnOrders
    classes: Classes | None
    weights: Sequence[int]

    @cached_property
    def digest(self) -> str:
        """Hash of what is drawn from, and how often (SPEC 7.7). Reads all positions of the classes."""
        if self.classes is not None:
            return self.classes.digest(self.weights)
        assert isinstance(self.orders, SampleOrders)
        return self.orders.digest

    def entries(self) -> dict[str, Any]:
        """Return what the state of a stream has beside what all have (SPEC 7.7)."""
        return {"num_samples": self.orders.num_slots, "weights": self.digest}

    def check_entries(self, entries: Mapping[str, Any]) -> None:
        """Raise OptionError if a state is of other draws."""
        for name, ours in self.entries().items():
            if type(entries[name]) is not type(ours) or entries[name] != ours:
                what = "of epochs of other lengths" if name == "num_samples" else "of other classes or weights"
                raise OptionError(
                    f"state is {what}: {name} is {shown(entries[name])} there, {shown(ours)} here; resume with the "
                    "same, or start the epoch again"
                )


def asked_draws(stream_input: StreamInput, options: StreamOptions, columns: LabelColumns) -> Draws | None:
    """Return what a stream with these options draws from; None if its epochs are the samples themselves.

    Raises:
        OptionError: The options contradict each other, the dataset has no table or no such column, or the weights are
            not those of its classes.
    """
    if options.balance is None and options.weights is None:
        if options.num_samples is not None:
            raise OptionError("num_samples is the length of a balanced or weighted epoch; give balance or weights, too")
        return None
    _refuse_contradictions(options)
    num_slots = len(stream_input.view)
    if options.num_samples is not None:
        num_slots = as_integer("num_samples", options.num_samples, minimum=1, maximum=MAX_SLOTS)
    if isinstance(options.weights, str):
        numbers = _own_weights(stream_input, options.weights, columns)
        return Draws(SampleOrders(stream_input.view, numbers, num_slots=num_slots, seed=options.seed), None, ())
    return _class_draws(stream_input, options, columns, num_slots)


def _refuse_contradictions(options: StreamOptions) -> None:
    if options.balance is not None and options.weights is not None:
        raise OptionError("balance gives all classes one weight, weights others; give one of them")
    if options.shuffle not in _SHUFFLES:
        raise OptionError(
            f"shuffle is {options.shuffle!r}, but a balanced or weighted order shuffles in its own way, which reads "
            "sample by sample; leave shuffle out"
        )


def _class_draws(stream_input: StreamInput, options: StreamOptions, columns: LabelColumns, num_slots: int) -> Draws:
    """Return what a stream draws from whose classes have one weight each: all the same, or those of the options."""
    column = _column("balance", CLASS_COLUMN if options.balance is None else options.balance)
    groups = columns.groups(stream_input, column)
    weights = None if options.weights is None else _by_name(options.weights, groups.names)
    positions = stream_input.view.positions
    if positions is not None:
        num_stored = stream_input.cache.manifest.num_samples
        groups = groups.among(positions.pieces(), num_stored, new_array=scratch_array)
    left_out = [] if weights is None else [number for number, name in enumerate(groups.names) if not weights[name]]
    classes = groups.without(left_out)
    if not len(classes):
        raise OptionError(f"no sample to draw has a value in the column {column!r}, or all weights are 0")
    whole: tuple[int, ...] = (1,) * len(classes)
    if weights is not None:
        whole = integer_weights([weights[name] for name in classes.names])
    return Draws(ClassOrders(classes, whole, num_slots=num_slots, seed=options.seed), classes, whole)


def _column(what: str, name: object) -> str:
    if not isinstance(name, str):
        raise OptionError(f"{what} is {name!r}, expected the name of a column of the label table, such as 'class'")
    return name


def _by_name(weights: object, names: Sequence[str]) -> dict[str, Fraction]:
    """Return the weight of every class."""
    if not isinstance(weights, Mapping):
        shown = " ".join(repr(weights).split())[:60]
        raise OptionError(f"weights is {shown}, expected {{class: weight}} or the name of a column of numbers")
    if not names:
        raise OptionError(
            "weights are given to names of classes, which no sample has; pack the dataset with classes=[...], give the "
            'name of a column of numbers as weights, or draw every label alike with balance="label"'
        )
    exact = {str(name): _exact(name, weight) for name, weight in weights.items()}
    known = set(names)
    if unknown := [name for name in exact if name not in known]:
        raise OptionError(f"weights of classes that the dataset does not have: {_some(unknown)}; it has {_some(names)}")
    if missing := [name for name in names if name not in exact]:
        raise OptionError(f"no weight for {_some(missing)}; give one to each class, 0 to leave it out")
    return exact


def _exact(name: object, weight: Any) -> Fraction:
    value = weight.item() if isinstance(weight, np.generic) else weight
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf:
        raise OptionError(f"weight of {name!r} is {weight!r}, expected a number from 0 on")
    return Fraction(value)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN])) or "none"
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _own_weights(stream_input: StreamInput, column: str, columns: LabelColumns) -> npt.NDArray[np.float64]:
    """Return the weight of each item."""
    view, numbers = stream_input.view, columns.numbers(stream_input, column)
    if view.positions is not None:
        numbers = _numbers_of(view.positions, numbers)
    for begin in range(0, len(numbers), _PIECE):
        piece = numbers[begin : begin + _PIECE]
        wrong = ~((piece >= 0) & (piece < math.inf))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise _wrong_weight(stream_input, column, item=begin + first, weight=float(piece[first]))
    return numbers


def _numbers_of(positions: Positions, numbers: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the numbers at some positions."""
    found = scratch_array(len(positions), np.float64)
    filled = 0
    for piece in positions.pieces():
        found[filled : filled + len(piece)] = numbers[piece]
        filled += len(piece)
    return found


def _wrong_weight(stream_input: StreamInput, column: str, *, item: int, weight: float) -> OptionError:
    stored, visible = stream_input.view.at(np.array([item])), stream_input.cache.visible
    position = int((stored if visible is None else visible.positions_of(stored))[0])
    said = "has no value" if math.isnan(weight) else f"is {weight}"
    return OptionError(
        f"weight of the sample at position {position} {said} (column {column!r}); expected a number from 0 on"
    )
