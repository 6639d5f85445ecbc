"""Finished shards on their way to the target: delivered in threads while workers make others.

acquire --room for one shard--> a worker makes it --submit--> a thread delivers it --room again--> acquire
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Generic, TypeVar

from shardpack.runtime.engine import Results
from shardpack.runtime.threads import Threads

# Shards being delivered while others are made: in a folder they only wait for their sync, but those on their
# way to a bucket take local disk space.
DELIVERIES_BY_MOVE, DELIVERIES_BY_UPLOAD = 4, 1
RECORDS_AT_ONCE = 8  # journal entries of shards that others deliver

Delivered = TypeVar("Delivered")  # a shard, or the shards of a chunk


class DeliveryQueue(Generic[Delivered]):
    """Delivers what is finished in threads, and bounds what is made or delivered at once to `max_shards`.

    A `Backpressure` and a context manager: leaving it waits for the running deliveries. Threads start with the first
    shard.
    """

    def __init__(self, deliver: Callable[[Delivered, str], None], *, max_shards: int) -> None:
        """Deliver with `deliver(shard, input_digest)`, which is called in threads and deletes the local files."""
        self._deliver = deliver
        self._changed = threading.Condition()
        self._free = self._max_shards = max_shards
        self._closed = False
        self._submitted = self._returned = 0
        self._outcomes: queue.SimpleQueue[tuple[Delivered, BaseException | None]] = queue.SimpleQueue()
        self._threads: Threads | None = None

    def __enter__(self) -> DeliveryQueue[Delivered]:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the running deliveries, and start no others. Safe to call twice."""
        self.close()
        if self._threads is not None:
            self._threads.close()

    def acquire(self) -> bool:
        """Wait until there is room for one more shard; False after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: self._free or self._closed)
            if self._closed:
                return False
            self._free -= 1
            return True

    def close(self) -> None:
        """End all waiting for room, now and later."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def submit(self, shard: Delivered, input_digest: str) -> None:
        """Start delivering a shard that was made after an `acquire`; returns immediately."""
        if self._threads is None:
            self._threads = Threads(self._max_shards, purpose="deliver")
        self._submitted += 1
        self._threads.start(self._run, shard, input_digest)

    def _run(self, shard: Delivered, input_digest: str) -> None:
        failure: BaseException | None = None
        try:
            self._deliver(shard, input_digest)
        except BaseException as error:  # noqa: BLE001 - raised in `_next`
            failure = error
        self._outcomes.put((shard, failure))
        with self._changed:
            self._free += 1
            self._changed.notify()

    def deliver_all(
        self,
        results: Results[Delivered],
        *,
        digest_of: Callable[[int], str],
        delivered: Callable[[Delivered], object],
    ) -> None:
        """Deliver the results of tasks as they are made, and leave the queue; on any error, end the tasks first.

        Args:
            results: Of `Engine.map`.
            digest_of: Returns the input digest of a task, by its number.
            delivered: Called with each shard that has arrived, in this thread.
        """
        with closing(results), self:
            for task, made in results:
                self.submit(made, digest_of(task))
                for shard in self.poll():
                    delivered(shard)
            for shard in self.drain():
                delivered(shard)

    def poll(self) -> list[Delivered]:
        """Return the shards that arrived since the last call; raises the error of a failed delivery."""
        return [self._next() for _ in range(self._outcomes.qsize())]

    def drain(self) -> Iterator[Delivered]:
        """Yield each remaining shard as it arrives; raises as `poll`."""
        while self._returned < self._submitted:
            yield self._next()

    def _next(self) -> Delivered:
        shard, failure = self._outcomes.get()
        self._returned += 1
        if failure is not None:
            raise failure
        return shard
