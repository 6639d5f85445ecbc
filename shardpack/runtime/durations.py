"""Times as people write them: `parse_seconds("7d")`."""

from __future__ import annotations

import math
import re

from shardpack.errors import OptionError

_FACTORS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*([smhdw]?)\s*", re.ASCII)


def parse_seconds(duration: float | str) -> float:
    """Return the seconds in a duration such as 90, "90", "45m", "12h", "7d" or "2w".

    Raises:
        OptionError: The text is not a duration, or the number is negative.
    """
    if isinstance(duration, (int, float)) and not isinstance(duration, bool) and 0 <= duration < math.inf:
        return float(duration)
    match = _DURATION.fullmatch(duration) if isinstance(duration, str) else None
    if match is None:
        raise OptionError(f"not a duration: {duration!r}; write it like 90, 45m, 12h or 7d")
    return float(match[1]) * _FACTORS[match[2]]
