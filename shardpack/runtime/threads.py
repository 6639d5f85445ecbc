"""Work done in threads ahead of whoever takes its results, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

AHEAD = 16  # items under way: of 4 MiB each, more than 10 Gbit/s bring in 50 ms


def done_ahead(items: Iterator[Item], work: Callable[[Item], Result]) -> Generator[tuple[Item, Result], None, None]:
    """Yield (item, result) in the order of the items, of which up to `AHEAD` are worked on at once.

    The number grows from one, so that the first result does not share the network with what comes
    later. When the iterator is closed, dropped or fails, what has not begun is dropped, and the
    threads end with what they are doing. (Close it: an error's traceback would keep it alive.)
    """
    pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="shardpack-ahead")
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    ahead = 1
    try:
        while True:
            while len(waiting) < ahead and (item := next(items, None)) is not None:
                waiting.append((item, pool.submit(work, item)))
            if not waiting:
                return
            first, future = waiting.popleft()
            yield first, future.result()
            del first, future  # before the next one is waited for
            ahead = min(2 * ahead, AHEAD)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
