"""Threads with an owner: `ordered_map` works ahead of its consumer, `call_all` makes many calls concurrently.

Both cancel calls that have not started and join their threads before they return: at the end, after an error, and
when an iterator is closed or dropped. Only Ctrl-C does not wait for running calls, as they may hang.
Every thread is named "shardpack-" and its purpose. `Threads` serves other patterns of work, and `DaemonThreads`
calls functions of the user, which may never return. Decoding in a loader is one such call (`stream/loader.py`).
"""

from __future__ import annotations

import queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """At most `limit` threads, started when needed. Leaving the context cancels pending calls and joins the threads.

    If the owner is dropped without `close`, the threads end without being joined.
    """

    _is_exiting = staticmethod(sys.is_finalizing)  # modules may be gone then, and threads were joined

    def __init__(self, limit: int, *, purpose: str) -> None:
        self._members: set[int] = set()
        self._pool = ThreadPoolExecutor(
            limit,
            thread_name_prefix=f"shardpack-{purpose}",
            initializer=lambda members: members.add(threading.get_ident()),
            initargs=(self._members,),
        )

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(wait=not isinstance(error, KeyboardInterrupt))

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Return the future of a call. Calls start in the order in which they were submitted."""
        return self._pool.submit(function, *arguments)

    def close(self, *, wait: bool = True) -> None:
        """Cancel pending calls, and join the threads unless `wait` is false. Safe to call twice."""
        if self._is_exiting():
            return
        # The garbage collector may drop an iterator in one of its own threads, which cannot join itself.
        self._pool.shutdown(wait=wait and threading.get_ident() not in self._members, cancel_futures=True)


class DaemonThreads:
    """Like `Threads`, for functions of the user: one that never returns does not keep the program alive.

    The interpreter joins `Threads` at exit, but not these: a running call is cut short.
    """

    _is_exiting = staticmethod(sys.is_finalizing)  # modules may be gone then, and daemon threads never run again

    def __init__(self, limit: int, *, purpose: str) -> None:
        self._limit, self._name = limit, f"shardpack-{purpose}"
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, self._calls.put, None).atexit = False  # dropped: the threads end by themselves

    def __enter__(self) -> DaemonThreads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(wait=not isinstance(error, KeyboardInterrupt))

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Return the future of a call, as `Threads.start`. Call from one thread at a time."""
        future: Future[Result] = Future()
        self._calls.put((future, function, arguments))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            name = f"{self._name}_{len(self._threads)}"
            thread = threading.Thread(target=_serve, args=(self._calls, self._idle), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self, *, wait: bool = True) -> None:
        """Cancel pending calls, and join the threads unless `wait` is false. Safe to call twice."""
        if self._is_exiting():
            return
        with suppress(queue.Empty):
            while True:
                if (call := self._calls.get_nowait()) is not None:
                    call[0].cancel()
        self._calls.put(None)
        for thread in self._threads if wait else ():
            if thread is not threading.current_thread():
                thread.join()


_Call = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


def _serve(calls: queue.SimpleQueue[_Call | None], idle: threading.Semaphore) -> None:
    while (call := calls.get()) is not None:
        future, function, arguments = call
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised by `Future.result`
                future.set_exception(error)
        del call, future, function, arguments  # release them before waiting for the next call
        idle.release()
    calls.put(None)  # for the next thread


def ordered_map(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    *,
    depth: int,
    threads: int | None = None,
    grow: bool = False,
    purpose: str = "ahead",
) -> Generator[Result, None, None]:
    """Yield work(item) in the order of the items, while threads work on the next ones.

    Work starts when the first result is requested. At most `depth` results are in progress or not yet consumed.
    The first error, in the order of the items, is raised in place of its result.

    Args:
        items: Drawn in the consumer's thread, at most `depth` ahead.
        work: Called in threads; with a `depth` of 0, in the consumer's thread when a result is requested.
        depth: Number of items worked on ahead of the consumer.
        threads: Number of threads; None means `depth`.
        grow: Start with one item and double their number with each result, so that the first item does not
            share the network with later ones.
        purpose: Names the threads.
    """
    if depth == 0:
        yield from map(work, items)
        return
    remaining, waiting = iter(items), deque[Future[Result]]()
    ahead = 1 if grow else depth
    with Threads(min(depth, threads or depth), purpose=purpose) as pool:
        while True:
            waiting.extend(pool.start(work, item) for item in islice(remaining, ahead - len(waiting)))
            if not waiting:
                return
            yield waiting.popleft().result()
            ahead = min(2 * ahead, depth)


def call_all(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    limit: int,
    purpose: str = "call",
    stop: threading.Event | None = None,
) -> list[Result]:
    """Return function(item) for each item, in their order, at most `limit` at a time.

    One item, or a limit of one, needs no thread. After the first error, pending calls are cancelled and running ones
    awaited; then it is raised.

    Args:
        function: Called in threads.
        items: Drawn before the first call.
        limit: Maximum number of concurrent calls.
        purpose: Names the threads.
        stop: Set after an error or Ctrl-C; running calls may check it and end early.
    """
    items = list(items)
    if min(limit, len(items)) <= 1:
        return list(map(function, items))
    with Threads(min(limit, len(items)), purpose=purpose) as pool:
        futures = [pool.start(function, item) for item in items]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in futures:
                if future in done:
                    future.result()
            return [future.result() for future in futures]
        except BaseException:
            if stop is not None:
                stop.set()
                pool.close()
            raise
