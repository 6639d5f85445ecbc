"""An option that says one thing is not given twice."""

from __future__ import annotations

import click
import pytest

from shardpack.cli.command import Command
from shardpack.cli.main import COMMANDS, cli


@click.command(cls=Command)
@click.argument("names", nargs=-1)
@click.option("--one", "-o")
@click.option("--many", multiple=True)
@click.option("--flag", is_flag=True)
@click.option("--optional", is_flag=False, flag_value="x")
def command(**_):
    """Do nothing."""


@pytest.mark.parametrize(
    "arguments",
    ["--one 1", "--one 1 --many 2 --many 3", "--flag --flag", "--one --one", "--one 1 -- --one 2", "--optional y z"],
)
def test_what_may_be_repeated(arguments):
    command.make_context("command", arguments.split())


@pytest.mark.parametrize(
    "arguments",
    [
        "--one 1 --one 2",
        "--one=1 x --one=2",
        "-o 1 --one 2",
        "-o1 -o2",
        "--flag --one a -o b",
        "--optional --optional y",
    ],
)
def test_what_may_not(arguments):
    with pytest.raises(click.UsageError, match="is given twice; give it once"):
        command.make_context("command", arguments.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_one(name):
    assert isinstance(cli.get_command(click.Context(cli), name), Command)


def test_both_forms_of_an_option_are_one_each(run, tmp_path):
    done = run("pack", tmp_path, tmp_path / "out", "--check-images", "--check-images", "decode")
    assert (done.code, "--check-images is given twice" in done.err) == (2, True)
    done = run("pack", tmp_path, tmp_path / "out", "--table", "--table", "nowhere.csv")
    assert (done.code, "given twice" in done.err) == (1, False)


def test_the_commands_refuse_it(run, tmp_path):
    done = run("split", tmp_path, "--fraction", "train=0.8", "--fraction", "val=0.2")
    assert (done.code, "--fraction is given twice" in done.err) == (2, True)
