"""`shardpack`: find the command, run it, turn errors into one line and an exit code.

Exit 0 fine, 1 a problem was found or the work failed, 2 wrong usage.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence

import click

from shardpack.errors import OptionError, ShardpackError

# Command -> one line of help. Modules are imported when their command is asked for: `cat` need
# not wait for what `pack` imports.
COMMANDS = {
    "pack": "Pack pictures and labels into tar shards with an offset index.",
    "index": "Make indexes for tars that others wrote.",
    "info": "Show what a dataset holds.",
    "ls": "List the samples of a dataset.",
    "cat": "Print one sample or one of its fields.",
    "extract": "Write samples back to files.",
    "verify": "Check that a dataset is whole and undamaged.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"shardpack.cli.{cmd_name}").command
        return command


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from shardpack import __version__

        click.echo(f"shardpack {__version__}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
              help="Show the version and exit.")  # fmt: skip
@click.option("--debug", is_flag=True, help="Show the traceback of an error. May stand anywhere.")
def cli(debug: bool) -> None:
    """Pack images and labels into plain tar shards with an offset index; read them by position,
    by key, or as a stream."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Never raises what a user can cause."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return cli.main(arguments, prog_name="shardpack", standalone_mode=False) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "shardpack"
        _complain(f'{error.format_message()} Try "{path} --help".')
        return 2
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; what was finished is kept: run the same command to continue")
        return 1
    except BrokenPipeError:
        # The reader of a pipe left, as `| head` does. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except (ShardpackError, OSError) as error:
        if debug:
            traceback.print_exc()
        else:
            _complain(str(error))
        return 2 if isinstance(error, OptionError) else 1


def _complain(message: str) -> None:
    click.echo("shardpack: " + " ".join(message.split("\n")), err=True)


def run() -> None:
    """Entry point of the installed script."""
    sys.exit(main())
