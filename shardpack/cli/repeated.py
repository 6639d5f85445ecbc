"""Options that are given twice by mistake: click would take the last one, without a word."""

from __future__ import annotations

from collections.abc import Sequence

import click

# Given with a value and without one, it says two things.
_HAVE_TWO_FORMS = ("--table", "--check-images")


def refuse_repeated(command: click.Command, arguments: Sequence[str]) -> None:
    """Refuse an option that takes one value and is given several.

    Args:
        command: The command, whose options that may be repeated say so.
        arguments: What follows the command's name.

    Raises:
        click.UsageError: An option is given twice.
    """
    options = {name: one for one in command.params if isinstance(one, click.Option) for name in one.opts}
    seen = set()
    is_value = False
    for argument in arguments:
        if argument == "--" and not is_value:
            return
        name, equals, _ = argument.partition("=")
        option = None if is_value else options.get(name)
        is_value = False
        if option is None or option.is_flag or name in _HAVE_TWO_FORMS:
            continue
        is_value = not equals
        if option.name in seen and not option.multiple:
            raise click.UsageError(f"{name} is given twice; give it once, with all that it should say")
        seen.add(option.name)
