"""Byte sizes as people write them: `parse_bytes("256MiB")`, `format_bytes(268435456)`."""

from __future__ import annotations

import re

from shardpack.errors import OptionError

_FACTORS = {
    "": 1,
    "b": 1,
    **{unit + "b": 1000**power for power, unit in enumerate("kmgtp", start=1)},
    **{unit + "ib": 1024**power for power, unit in enumerate("kmgtp", start=1)},
}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(size: int | str) -> int:
    """Return a number of bytes from 4096, "4096", "1GB" (10^9) or "256MiB" (2^20).

    Raises:
        OptionError: Not a size, or not a whole number of bytes.
    """
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    factor = _FACTORS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise OptionError(f"not a size: {size!r}; write it like 4096, 1GB or 256MiB")
    number = float(match[1]) * factor
    if number != int(number):
        raise OptionError(f"not a whole number of bytes: {size!r}; write it like 1536KiB")
    return int(match[1]) * factor if match[1].isdigit() else int(number)


def format_bytes(num_bytes: float) -> str:
    """Return a short size in binary units: "512 B", "1.5 KiB", "256.0 MiB"."""
    if num_bytes < 1024:
        return f"{num_bytes:.0f} B"
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        num_bytes /= 1024
        if num_bytes < 1024:
            break
    else:
        num_bytes, unit = num_bytes / 1024, "PiB"
    return f"{num_bytes:.1f} {unit}"
