"""How many files a dataset may keep open or mapped: a share of what the system allows this process."""

from __future__ import annotations

import sys

from shardpack.storage.file_map import TAKES_DESCRIPTOR

_MOST_MAPS = 1 << 14  # each is an area of the address space, of which Linux allows 65,530
_MOST_FILES = 4096
_USUAL_LIMIT = 1024


def max_maps() -> int:
    """Return how many shards may be mapped at once; a quarter of the descriptors where each map needs one."""
    return max_files() if TAKES_DESCRIPTOR else _MOST_MAPS


def max_index_maps() -> int:
    """Return how many indexes may be mapped at once: before Python 3.13 each of these maps needs a descriptor."""
    return _MOST_MAPS if sys.version_info >= (3, 13) else max_files()


def max_files() -> int:
    """Return how many files may be open at once: a quarter of the descriptors, leaving the others to the program."""
    return min(_MOST_FILES, max(1, max_descriptors() // 4))


def max_descriptors() -> int:
    """Return the limit of this process on open descriptors."""
    try:
        import resource  # not on Windows
    except ImportError:
        return _USUAL_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _USUAL_LIMIT if soft < 0 else int(soft)
