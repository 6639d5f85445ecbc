"""How many cores there are for this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many cores this process may use, where the system tells; else how many there are."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; users in containers may set it
        return int(os.process_cpu_count() or 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
