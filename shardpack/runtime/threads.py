"""Threads with an owner and an end: `ordered_map` works ahead of its consumer, `call_all` does many things at once.

Both cancel what has not begun and join their threads before they are left: at the end, by an error, and when an
iterator is closed or dropped. Only Ctrl-C does not wait for work under way, which may hang: that ends by itself.
Every thread is called "shardpack-..." after what it does. For other shapes of work there is `Threads`,
and for functions of callers, which may never return, `DaemonThreads`.
"""

from __future__ import annotations

import queue
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
    """At most `limit` threads, started when needed. Leaving it as a context cancels what has not begun, and joins.

    An owner that is dropped unclosed lets its threads end without waiting for them.
    """

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
        """Return the future of a call. Calls begin in the order in which they were handed in."""
        return self._pool.submit(function, *arguments)

    def close(self, *, wait: bool = True) -> None:
        """Cancel what has not begun, and wait for the threads unless `wait` is false. Safe to call twice."""
        # The garbage collector may drop an iterator in one of its own threads, which cannot wait for itself.
        self._pool.shutdown(wait=wait and threading.get_ident() not in self._members, cancel_futures=True)


class DaemonThreads:
    """As `Threads`, for calls of functions that are not ours: one that never returns does not keep the program alive.

    `Threads` would be joined when the interpreter ends. Do not call what must not be cut short.
    """

    def __init__(self, limit: int, *, purpose: str) -> None:
        self._limit, self._name = limit, f"shardpack-{purpose}"
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        weakref.finalize(self, self._calls.put, None).atexit = False  # dropped unclosed: the threads end by themselves

    def __enter__(self) -> DaemonThreads:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close(wait=not isinstance(error, KeyboardInterrupt))

    def start(self, function: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Return the future of a call; see `Threads.start`. To be called from one thread at a time."""
        future: Future[Result] = Future()
        self._calls.put((future, function, arguments))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._limit:
            name = f"{self._name}_{len(self._threads)}"
            thread = threading.Thread(target=_serve, args=(self._calls, self._idle), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def close(self, *, wait: bool = True) -> None:
        """Cancel what has not begun, and wait for the threads unless `wait` is false. Safe to call twice."""
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
    while True:
        try:
            call = calls.get_nowait()
        except queue.Empty:
            idle.release()
            call = calls.get()
        if call is None:
            break
        future, function, arguments = call
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 - raised by whoever asks for the result
                future.set_exception(error)
        del call, future, function, arguments  # before the next one is waited for
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

    Nothing begins before the first result is asked for. At most `depth` results are under way or wait to be taken.
    The first error, in the order of the items, is raised where its result would have come.

    Args:
        items: Drawn in the consumer's thread, `depth` ahead at most.
        work: Called in threads; with `depth` 0 in the consumer's, when a result is asked for.
        depth: How many items are worked on ahead of the consumer.
        threads: How many of them at once; None is `depth`.
        grow: Begin with one item under way and double with each result, so that the first does not share
            the network with what comes later.
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

    One item, or a limit of one, needs no thread. The first error that happens stops what has not begun, waits for
    what has, and is raised.

    Args:
        function: Called in threads.
        items: Drawn at once.
        limit: How many calls may be under way.
        purpose: Names the threads.
        stop: Set when one call has failed, or at Ctrl-C: the others look at it, and end early.
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
