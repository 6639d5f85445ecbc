"""`shardpack info --by`: how many samples have each value of a column, and how large their images are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

import shardpack
from shardpack.cli.plot_file import check_plot, save_plot
from shardpack.cli.ui import emit, note, print_json
from shardpack.table.summary import ValueSummary, columns_of_summary, summarise

_NAMED = 12  # values whose names are written into the plot
_WIDEST = 40


def show_by(
    ds: shardpack.Dataset, column: str, *, where: str | None, plot: str | None, force: bool, as_json: bool
) -> None:
    """Print the values of a column, and draw them into a file if there is a name for it."""
    check_plot(plot, force=force)
    if where is not None:
        ds = ds.where(where)
    found = summarise(ds.table(columns_of_summary(column)), column)
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        _print(found, column, max(1, len(ds)))
    if plot is not None:
        _draw(found, column, plot)


def _print(found: Sequence[ValueSummary], column: str, total: int) -> None:
    shown = [_shown(one.value) for one in found]
    width = max(len(column), *map(len, shown)) if shown else len(column)
    emit(f"{column:<{width}}  {'samples':>10}  {'share':>7}  {'width':>8}  {'height':>8}  {'bytes':>12}")
    for one, text in zip(found, shown, strict=True):
        means = f"{_mean(one.mean_width):>8}  {_mean(one.mean_height):>8}  {_mean(one.mean_bytes):>12}"
        emit(f"{text:<{width}}  {one.num_samples:>10,}  {100 * one.num_samples / total:>5.1f} %  {means}")


def _shown(value: Any) -> str:
    text = "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _draw(found: Sequence[ValueSummary], column: str, path: str) -> None:
    from shardpack.inspect.plot import scatter_png

    counts = np.array([one.num_samples for one in found], np.int64)
    content = scatter_png(
        np.arange(len(found), dtype=np.int64),
        counts,
        ends=(max(1, len(found)), int(counts.max(initial=0)) + 1),
        labels=(f"values of {column}, most samples first", "samples"),
        title=f"{int(counts.sum()):,} samples by {column}: {len(found):,} values",
        names=[_shown(one.value) for one in found[:_NAMED]],
    )
    save_plot(path, content)
    note(f"drawn: {path}")
