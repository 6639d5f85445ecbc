"""An option that says one thing is not given twice."""

from __future__ import annotations

import click
import pytest

from shardpack.cli.repeated import refuse_repeated


@click.command()
@click.argument("names", nargs=-1)
@click.option("--one", "-o")
@click.option("--many", multiple=True)
@click.option("--flag", is_flag=True)
@click.option("--table")
def command(**_):
    """Do nothing."""


@pytest.mark.parametrize(
    "arguments",
    ["--one 1", "--one 1 --many 2 --many 3", "--flag --flag", "--one --one", "--one 1 -- --one 2", "--table --table x"],
)
def test_what_may_be_repeated(arguments):
    refuse_repeated(command, arguments.split())


@pytest.mark.parametrize("arguments", ["--one 1 --one 2", "--one=1 x --one=2", "-o 1 --one 2", "--flag --one a -o b"])
def test_what_may_not(arguments):
    with pytest.raises(click.UsageError, match="is given twice; give it once"):
        refuse_repeated(command, arguments.split())


def test_the_commands_refuse_it(run, tmp_path):
    done = run("split", tmp_path, "--fraction", "train=0.8", "--fraction", "val=0.2")
    assert (done.code, "--fraction is given twice" in done.err) == (2, True)
