"""What samples with one value in a column have in common: how many there are, and how large their images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shardpack.errors import OptionError
from shardpack.table.libraries import compute_module, pyarrow_module

_MEANS = ("width", "height", "bytes")


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """The samples with one value.

    Attributes:
        value: Text, number or boolean; None for samples without one.
        num_samples: How many there are.
        mean_width, mean_height, mean_bytes: Of their images; None if they have none that can be read.
    """

    value: Any
    num_samples: int
    mean_width: float | None
    mean_height: float | None
    mean_bytes: float | None


def columns_of_summary(column: str) -> list[str]:
    """Return which columns of the table a summary is made of."""
    return list(dict.fromkeys([column, *_MEANS]))


def summarise(table: Any, column: str) -> Sequence[ValueSummary]:
    """Return a summary for each value of a column, most samples first, then in the order of the values.

    Args:
        table: Has the columns of `columns_of_summary`.
        column: Whose values are looked at.

    Raises:
        OptionError: The column holds lists or objects.
    """
    pa = pyarrow_module()
    values = table[column]
    if pa.types.is_nested(values.type):
        raise OptionError(f"column {column!r} holds lists or objects; group by one of texts, numbers or booleans")
    rows = pa.table({"value": values, **{name: table[name] for name in _MEANS}})
    grouped = rows.group_by("value", use_threads=False).aggregate(
        [("value", "count", compute_module().CountOptions(mode="all")), *_AGGREGATES]
    )
    found = [
        ValueSummary(row["value"], row["value_count"], row["width_mean"], row["height_mean"], row["bytes_mean"])
        for row in grouped.to_pylist()
    ]
    return sorted(found, key=lambda one: (-one.num_samples, one.value is None, one.value))


_AGGREGATES = [(name, "mean") for name in _MEANS]
