"""Zstandard, from the extra `zstd`: the one place that imports it, and says which versions decide bytes."""

from __future__ import annotations

from functools import cache
from typing import Any

from shardpack.errors import MissingDependencyError


@cache
def zstandard() -> Any:
    """Return the module zstandard.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import zstandard as module
    except ImportError as error:
        raise MissingDependencyError(
            'reading and writing zstd needs zstandard; run pip install "shardpack[zstd]"'
        ) from error
    return module


def zstd_versions() -> dict[str, str]:
    """Return the versions of the package and of libzstd: the same input gives the same bytes only where they agree."""
    module = zstandard()
    return {"zstandard": module.__version__, "libzstd": ".".join(map(str, module.ZSTD_VERSION))}
