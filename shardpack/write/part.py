"""Which shards of a plan one of several machines makes: `--part 2/4`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shardpack.errors import OptionError

_PART = re.compile(r"([1-9]\d{0,8})/([1-9]\d{0,8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Part `number` of `count`, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def shards(self, num_shards: int) -> range:
        """Return the shards of this part: every `count`-th one, so that parts take equally long."""
        return range(self.number - 1, num_shards, self.count)


def parse_part(part: str) -> Part:
    """Return the part that a text such as "2/4" names.

    Raises:
        OptionError: It names none.
    """
    match = _PART.fullmatch(part) if isinstance(part, str) else None
    if match is None or int(match[1]) > int(match[2]):
        raise OptionError(f'part is {part!r}; expected "i/n" with i from 1 to n, such as "1/4"')
    return Part(int(match[1]), int(match[2]))
