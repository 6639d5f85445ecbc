"""Whether this process is a worker that its parent can replace: what may end the process is then free to run here."""

from __future__ import annotations

_serving: list[bool] = []


def is_worker() -> bool:
    """Return whether a parent has started this process to run its tasks."""
    return bool(_serving)


def serve() -> None:
    """Note that this process is one."""
    _serving[:] = [True]
