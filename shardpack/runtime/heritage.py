"""What child processes on this machine inherit: values that must never travel in a task, such as secrets.

    hand_down(take, give)   in this process, once
    take(value)             in each child that is started afterwards, for each value of give(), before its first task

A task is sent to any worker, perhaps on another machine; what is inherited goes through the child's own pipe alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

Take = Callable[[Any], None]
Give = Callable[[], Iterable[Any]]

_givers: dict[Take, Give] = {}


def hand_down(take: Take, give: Give) -> None:
    """Have later children call `take`, a module-level function, with each value that `give` then returns."""
    _givers[take] = give


def heritage() -> Iterator[tuple[Take, Any]]:
    """Yield (take, value) for a child that is being started."""
    for take, give in list(_givers.items()):
        for value in give():
            yield take, value
