"""Byte sizes as people write them: `parse_bytes("256MiB")`, `format_bytes(268435456)`."""

from __future__ import annotations

import operator
import re
from typing import SupportsIndex

from shardpack.errors import OptionError

DEFAULT_MAX_SHARD_BYTES = "256MiB"

_FACTORS: dict[str, int] = {
    "": 1,
    "b": 1,
    **{unit + "b": 1000**power for power, unit in enumerate("kmgtp", start=1)},
    **{unit + "ib": 1024**power for power, unit in enumerate("kmgtp", start=1)},
}
_SIZE = re.compile(r"\s*(\d{1,30}(?:\.\d{1,30})?)\s*([a-zA-Z]*)\s*", re.ASCII)


def parse_bytes(size: SupportsIndex | str) -> int:
    """Return the number of bytes in a size such as 4096, "4096", "1GB" (10^9 bytes) or "1MiB" (2^20 bytes).

    Raises:
        OptionError: The text is not a size, or not a whole number of bytes.
    """
    if isinstance(size, SupportsIndex) and not isinstance(size, bool):
        return operator.index(size)
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise OptionError(f"not a size: {size!r}; write it like 4096, 1GB or 256MiB")
    whole, _, decimals = match[1].partition(".")
    number, rest = divmod(int(whole + decimals) * factor, int(10 ** len(decimals)))
    if rest:
        raise OptionError(f"not a whole number of bytes: {size!r}; write it like 1536KiB")
    return number


def format_bytes(num_bytes: float) -> str:
    """Return a short size in binary units: "512 B", "1.5 KiB", "256.0 MiB"."""
    text, unit = f"{num_bytes:.0f}", "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if float(text) < 1024:
            break
        num_bytes /= 1024
        text, unit = f"{num_bytes:.1f}", larger
    return f"{text} {unit}"
