"""The command `shardpack`: find the subcommand, run it, and turn errors into one line and an exit code.

Exit codes: 0 success, 1 a problem was found or the work failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import click

from shardpack.cli.ui import flush, note
from shardpack.errors import OptionError, ShardpackError

# Command -> one line of help. The module of a command is imported when the command is called, so that
# `cat` does not wait for what `pack` imports.
COMMANDS = {
    "pack": "Pack images and labels into tar shards with an offset index.",
    "advise": "Try images in many encodings, and recommend the one that pays.",
    "copy": "Copy a dataset to another folder or bucket, checking every byte.",
    "index": "Index existing tars as a dataset.",
    "info": "Show what a dataset contains.",
    "ls": "List the samples of a dataset.",
    "cat": "Print one sample or one of its fields.",
    "extract": "Write samples back to files.",
    "export": "Write a dataset in another format, or indexes for other readers.",
    "append": "Add samples to a dataset.",
    "merge": "Make one dataset of several.",
    "delete": "Delete samples from a dataset.",
    "relabel": "Give samples other labels, by key.",
    "attach": "Attach a dataset as a layer that replaces or adds fields by key.",
    "detach": "Take a layer off a dataset.",
    "split": "Give a dataset named splits, drawn by fractions or listed.",
    "table": "Make the label table of a dataset, for queries.",
    "log": "Show what each generation of a dataset changed.",
    "gc": "Delete earlier generations of a dataset.",
    "repair": "Make lost or damaged files of a dataset again from its tars.",
    "verify": "Check that a dataset is complete and undamaged.",
    "order": "Show what an epoch would read, and how well it mixes.",
    "bench": "Measure how fast a dataset is read on this machine.",
}


_CONTINUED = frozenset((  # an interrupted one does not begin anew
    "append", "attach", "copy", "delete", "export", "gc", "merge", "pack", "relabel", "split", "table",
))  # fmt: skip
INTERRUPTED = 130  # what a shell reports for a program that SIGINT ended


class _PipeClosedError(Exception):
    """A BrokenPipeError under another name, as click turns BrokenPipeError into its own exit code."""


@contextmanager
def _closed_pipes() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _PipeClosedError from error


class _Commands(click.Group):
    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        with _closed_pipes():  # `--help | true`
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _closed_pipes():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"shardpack.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            nearest = get_close_matches(args[0], COMMANDS, n=1)
            if not nearest:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}; did you mean {nearest[0]!r}?", error.ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from shardpack._version import __version__

        click.echo(f"shardpack {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog='Each command has its own help with an example: "shardpack pack --help".',
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error. May be given anywhere.")
def cli(debug: bool) -> None:
    """Pack images and labels into plain tar shards with an offset index; read them by position,
    by key, or as a stream.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Errors that a user can cause are printed, not raised."""
    debug, arguments = _without_debug(sys.argv[1:] if argv is None else argv)
    code = 0
    try:
        code = int(cli.main(arguments or ["--help"], prog_name="shardpack", standalone_mode=False) or 0)
        flush()
    except click.ClickException as error:
        _complain(_usage(error))
        return 2
    except (KeyboardInterrupt, click.Abort):
        kept = (
            "; what was finished is kept: run the same command to continue"
            if arguments[:1] and arguments[0] in _CONTINUED
            else ""
        )
        _complain("interrupted" + kept)
        return INTERRUPTED
    except (BrokenPipeError, _PipeClosedError):  # `| head` has read enough, which is not an error
        _drop_unwritten()
    except (ShardpackError, OSError) as error:
        if debug:
            traceback.print_exc()
        else:
            _complain(str(error))
        _drop_unwritten()
        return 2 if isinstance(error, OptionError) else 1
    return code


def _without_debug(argv: Sequence[str]) -> tuple[bool, list[str]]:
    """Return whether `--debug` is among the arguments before a `--`, and the arguments without it."""
    options = list(argv)
    positional = options[options.index("--") :] if "--" in options else []
    options = options[: len(options) - len(positional)]
    return "--debug" in options, [option for option in options if option != "--debug"] + positional


def _usage(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split()).rstrip(".")  # click lists choices one a line
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "shardpack"
    if isinstance(error, click.NoSuchOption) and path == "shardpack cat":
        message += '; write "--" before a key that starts with "-"'
    return f'{message[:1].lower()}{message[1:]}; try "{path} --help"'


def _complain(message: str) -> None:
    note("shardpack: " + " ".join(message.split("\n")))


def _drop_unwritten() -> None:
    """Flush stdout; if that fails, send it to the null device, so that Python does not fail again at exit."""
    try:
        flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)


def run() -> None:
    """Entry point of the installed script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Keys may contain characters that the terminal cannot show, or bytes that are not UTF-8; the latter
            # are printed unchanged.
            plain = stream.encoding.lower().replace("-", "") == "utf8"
            stream.reconfigure(errors="surrogateescape" if plain else "backslashreplace")
    sys.exit(main())
