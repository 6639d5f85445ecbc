"""The class of all commands, for which an option that takes one value may be given once."""

from __future__ import annotations

from collections import Counter

import click


class Command(click.Command):
    """A command that refuses an option which is given twice: click would take the last, without a word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        _, _, order = self.make_parser(ctx).parse_args(list(args))  # each option as often as it is given
        for option, times in Counter(order).items():
            if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                what = f"{option.opts[0]} is given twice; give it once, with all that it should say"
                raise click.UsageError(what, ctx)
        return super().parse_args(ctx, args)
