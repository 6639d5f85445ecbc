"""What commands share: options, progress on a terminal, JSON and tables."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from shardpack.errors import OptionError
from shardpack.progress import Progress, no_progress
from shardpack.units import format_bytes, parse_bytes

_BYTE_PHASES = {"pack", "verify"}


class SizeType(click.ParamType):
    """A size on the command line: 4096, 1GB, 256MiB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_bytes(value)
        except OptionError as error:
            self.fail(str(error), param, ctx)


dataset_argument = click.argument("dataset", metavar="DS", type=click.Path())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
jobs_option = click.option(
    "--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="Worker processes. [default: one a core]"
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress, no notes: errors only.")


def note(message: str, *, quiet: bool = False) -> None:
    """Print a line for people, on stderr."""
    if not quiet:
        click.echo(message, err=True)


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on stdout; dataclasses become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    click.echo(json.dumps(value, ensure_ascii=True))


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print name-value lines, names aligned."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name:<{width}}  {value}")


def both_units(num_bytes: int) -> str:
    """Return a size both ways: "1.5 KiB (1536 bytes)"."""
    return f"{format_bytes(num_bytes)} ({num_bytes} bytes)" if num_bytes >= 1024 else f"{num_bytes} bytes"


def counted(numbers: Mapping[str, int]) -> str:
    """Return "jpg 12, json 12"."""
    return ", ".join(f"{name} {count}" for name, count in numbers.items())


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress callback that draws on a terminal, with rate and time left; silent when piped."""
    if quiet or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Any) -> Text:
            in_bytes = task.description in _BYTE_PHASES
            show = format_bytes if in_bytes else (lambda number: f"{number:,.0f}")
            total = f" / {show(task.total)}" if task.total else ""
            speed = task.finished_speed or task.speed
            return Text(show(task.completed) + total + (f"  {show(speed)}/s" if speed else ""))

    columns = (TextColumn("{task.description}"), BarColumn(), Amount(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def show_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total or None)
            bar.update(tasks[phase], completed=done, total=total or None)

        yield show_progress
