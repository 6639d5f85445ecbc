"""Shared by the commands: options, lines and JSON on stdout, notes and progress on stderr."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, TextIO, TypeVar

import click
from click.core import ParameterSource

import shardpack
from shardpack.errors import OptionError, OutputExistsError, ShardpackError
from shardpack.read.open_dataset import load_manifest
from shardpack.runtime.progress import Progress, no_progress
from shardpack.runtime.sizes import format_bytes, parse_bytes
from shardpack.storage.open import open_store
from shardpack.storage.url import is_url

COUNTED = 12  # names that `counted` shows
_BYTE_PHASES = {"pack", "verify", "index", "copy", "unpack"}  # their progress is counted in bytes
# Options of stores that are numbers. All others are texts, as an access key may consist of digits.
_NUMBERS = frozenset(("max_requests", "max_attempts", "max_seconds", "connect_timeout_seconds", "read_timeout_seconds"))
_PAST = {  # what a command did
    "append": "appended", "attach": "attached", "delete": "deleted", "detach": "detached", "merge": "merged",
    "relabel": "relabelled", "split": "split", "table": "made",
}  # fmt: skip
_Function = TypeVar("_Function", bound=Callable[..., Any] | click.Command)
# Control characters, line separators, and characters that change the direction or look of the text around them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")


def size(text: str) -> int:
    """Return the number of bytes of a size on the command line: 4096, 1GB, 256MiB."""
    try:
        return parse_bytes(text)
    except OptionError as error:
        raise click.BadParameter(str(error)) from error


def _as_options(_: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any] | None:
    """Return `storage_options` from KEY=VALUE texts; None without any."""
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:  # the text is not shown, as it may be a secret
            raise click.BadParameter("expected KEY=VALUE, as in region=eu-west-1", param=parameter)
        try:
            plain = name not in _NUMBERS and value not in {"true", "false"} and not value.startswith("{")
            options[name] = value if plain else json.loads(value)
        except ValueError:
            what = "a number" if name in _NUMBERS else "JSON"
            raise click.BadParameter(f"the value of {name} is not {what}", param=parameter) from None
    return options or None


def options_of(flag: str, whose: str) -> Callable[[_Function], _Function]:
    """Return a decorator that adds the options of a store, as a parameter named like the flag in the plural."""
    return click.option(
        flag,
        flag.removeprefix("--").replace("-", "_") + "s",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_as_options,
        help=f"Option of {whose}, such as endpoint or region; may be given many times. Credentials are safer in the "
        "environment.",
    )


def _as_allowed(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> bool | tuple[str, ...]:
    """Return `allow_locations` from URLs; "all" allows every location."""
    return True if "all" in given else given


def access_options(function: _Function) -> _Function:
    """Add the options for reaching a dataset, named as in `shardpack.open`: `storage_options`, `allow_locations`."""
    allow = click.option(
        "--allow-locations",
        multiple=True,
        metavar="URL",
        callback=_as_allowed,
        help="Also read tars below URL if the dataset, in another bucket or on another host, says that they are there; "
        'may be given many times; "all" allows every location.',
    )
    return storage_option(allow(function))


storage_option = options_of("--storage-option", "a URL")
generation_option = click.option(
    "--generation", type=click.IntRange(min=1), metavar="N", help="Read generation N of DS, instead of the newest."
)
dataset_argument = click.argument("dataset", metavar="DS", type=click.Path())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
work_dir_option = click.option(
    "--work-dir",
    type=click.Path(),
    metavar="DIR",
    help="Local folder for shards on their way to a bucket, and for what is unpacked. [default: the temporary folder]",
)
jobs_option = click.option(
    "--jobs", "-j", type=click.IntRange(min=1), metavar="N", help="Worker processes. [default: one per core]"
)
quiet_option = click.option("--quiet", "-q", is_flag=True, help="No progress, no notes: errors only.")


single_writer_option = click.option(
    "--single-writer",
    is_flag=True,
    help="Promise that nobody else edits DS meanwhile; for places that cannot tell two editors apart.",
)


def edit_options(function: _Function) -> _Function:
    """Add the options that all edits have: those for reaching a dataset, `single_writer`, `dry_run`, JSON, quiet."""
    dry_run = click.option("--dry-run", is_flag=True, help="Show what would be changed; write nothing.")
    return access_options(single_writer_option(dry_run(json_option(quiet_option(function)))))


def refuse_given(names: Collection[str], why: str) -> None:
    """Raise UsageError if one of these options of the command was given: none is ignored."""
    context = click.get_current_context()
    for option in context.command.params:
        if option.name in names and context.get_parameter_source(option.name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"{option.opts[0]} {why}")


def confirm_deleting(out: str, storage_options: Mapping[str, Any] | None) -> None:
    """Ask on a terminal whether the dataset in a place may be deleted, if one is there.

    Raises:
        OutputExistsError: The user keeps the dataset.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        return
    try:
        _, manifest = load_manifest(open_store(out, storage_options if is_url(out) else None))
    except (ShardpackError, OSError):
        return  # packing tells what is wrong with it
    samples = plural(manifest.num_visible, "sample")
    generations = ", and all earlier generations" if manifest.generation > 1 else ""
    if not click.confirm(f"{out} holds a dataset: delete its {samples}{generations}?", err=True):
        raise OutputExistsError(
            f'the dataset in {out!r} is kept; add to it with "shardpack append", or name another folder'
        )


def is_remote(dataset: shardpack.Dataset) -> bool:
    """Return whether the tars of a dataset are somewhere else than on this machine."""
    return any(map(is_url, (dataset.location, *dataset.manifest.locations)))


def emit(line: str) -> None:
    """Print a line of data on stdout, without flushing: millions of lines take seconds instead of minutes."""
    _write_line(sys.stdout, line)


def flush() -> None:
    """Flush stdout."""
    if sys.stdout is not None:
        sys.stdout.flush()


def note(message: str, *, quiet: bool = False) -> None:
    """Print a line for people on stderr, unless `quiet`."""
    if not quiet:
        _write_line(sys.stderr, message)


def _write_line(stream: TextIO | None, line: str) -> None:
    if stream is None:  # closed by the caller: `>&-`
        return
    if not line.isprintable():  # a key may contain a newline, or control sequences of the terminal
        line = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], line)
    try:
        stream.write(line + "\n")
    except UnicodeEncodeError:
        stream.write(ascii(line)[1:-1] + "\n")


def print_json(value: Any) -> None:
    """Print a value as one line of JSON on stdout; dataclasses become objects."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    try:
        line = json.dumps(value, allow_nan=False)
    except ValueError:
        line = json.dumps(_finite(value), allow_nan=False)
    emit(line)


def _finite(value: Any) -> Any:
    """Return a JSON value with null in place of NaN and infinities, which JSON does not have."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_edit(report: shardpack.EditReport, what: str, *, as_json: bool, quiet: bool) -> None:
    """Print what an edit did: as JSON on stdout, or as a line for people.

    Args:
        report: The report.
        what: What was changed, as in "deleted <what>".
        as_json, quiet: The options.
    """
    if as_json:
        print_json(report)
        return
    seconds = "" if report.dry_run else f" in {report.seconds:.1f} s"
    verb = _PAST[report.command]
    note(
        f"{f'would have {verb}' if report.dry_run else verb} {what}{seconds}: generation {report.generation} of "
        f"{report.location} {'would have' if report.dry_run else 'has'} {plural(report.num_samples, 'sample')}",
        quiet=quiet,
    )


def print_pairs(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print a line per name and value, with the values aligned."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        emit(f"{name:<{width}}  {value}")


def both_units(num_bytes: int) -> str:
    """Return a size in both units: "1.5 KiB (1,536 bytes)"."""
    exact = plural(num_bytes, "byte")
    return f"{format_bytes(num_bytes)} ({exact})" if num_bytes >= 1024 else exact


def hexadecimal(checksum: int | None) -> str | None:
    """Return a CRC32C as manifests write it; None for None."""
    return None if checksum is None else f"{checksum:08x}"


def plural(count: int, what: str) -> str:
    """Return "1 sample", "1,200 samples"."""
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def counted(numbers: Mapping[str, int]) -> str:
    """Return "jpg 12, json 12"; of many names, the first ones and how many more there are."""
    shown = [f"{name} {count:,}" for name, count in islice(numbers.items(), COUNTED)]
    if len(numbers) > COUNTED:
        shown.append(f"and {len(numbers) - COUNTED:,} more")
    return ", ".join(shown) or "none"


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """Yield a progress callback that draws a bar with rate and time left; one that does nothing if piped or quiet."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            show = format_bytes if task.description in _BYTE_PHASES else (lambda number: f"{number:,.0f}")
            total = f" / {show(task.total)}" if task.total else ""
            speed = task.finished_speed or task.speed
            return Text(show(task.completed) + total + (f"  {show(speed)}/s" if speed else ""))

    amount = Amount(table_column=Column(no_wrap=True))  # the bar takes the rest of the width
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), amount, TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True, expand=True) as bar:
        tasks: dict[str, Any] = {}

        def show_progress(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total or None)
            bar.update(tasks[phase], completed=done, total=total or None)

        yield show_progress
