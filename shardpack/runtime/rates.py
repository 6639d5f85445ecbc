"""Rates as people write them: `parse_rate("1Gbit")`, `format_rate(125e6)`."""

from __future__ import annotations

import re

from shardpack.errors import OptionError

_PREFIXES = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_UNITS = {"b": 1.0, "bit": 0.125, "bps": 0.125}
_RATE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?i?)(bit|bps|b)(?:/s)?\s*", re.ASCII | re.IGNORECASE)


def parse_rate(rate: str) -> float:
    """Return the bytes per second in a rate such as "2GB/s", "300MiB/s", "1Gbit" or "25Gbps".

    Raises:
        OptionError: The text is not a rate, or it is zero.
    """
    match = _RATE.fullmatch(rate)
    factor = _PREFIXES.get(match[2].lower()) if match else None
    if match is None or factor is None or not float(match[1]):
        raise OptionError(f"not a rate: {rate!r}; write it like 2GB/s, 300MiB/s or 1Gbit")
    return float(match[1]) * factor * _UNITS[match[3].lower()]


def format_rate(bytes_per_second: float) -> str:
    """Return a short rate in decimal units: "125 MB/s", "2.5 GB/s"."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_per_second >= 0.9995 * factor:  # three digits of anything less
            return f"{bytes_per_second / factor:.3g} {unit}/s"
    return f"{bytes_per_second:.3g} B/s"
