"""How many files a process may hold open, as the system says."""

from __future__ import annotations

import sys

_MOST = 4096  # of maps: each is an area of the address space, of which Linux allows 65,530
_USUAL_LIMIT = 1024


def max_maps() -> int:
    """Return how many files may be mapped at a time: a quarter of the descriptors, where each map holds one."""
    if sys.version_info >= (3, 13):  # a map needs no descriptor there
        return _MOST
    return min(_MOST, max_descriptors() // 4)


def max_descriptors() -> int:
    """Return how many descriptors this process may have."""
    try:
        import resource  # not on Windows
    except ImportError:
        return _USUAL_LIMIT
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _USUAL_LIMIT if soft < 0 else int(soft)
