"""Shards on their way to the target: delivered in threads while others are made, no more than there is room for.

acquire --room--> a worker makes the shard --submit--> a thread delivers it --room--> acquire
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator

from shardpack.format.shard_info import ShardInfo
from shardpack.runtime.threads import Threads

Deliver = Callable[[ShardInfo, str], None]


class DeliveryQueue:
    """`room` shards at most between being begun and having arrived. A `Backpressure`, and a context manager.

    Threads start with the first shard; leaving waits for the deliveries under way.
    """

    def __init__(self, deliver: Deliver, *, room: int) -> None:
        """Deliver with `deliver(info, input_digest)`, which is called in threads and deletes the local files."""
        self._deliver = deliver
        self._changed = threading.Condition()
        self._free = self._room = room
        self._closed = False
        self._submitted = self._seen = 0
        self._ended: queue.SimpleQueue[tuple[ShardInfo, BaseException | None]] = queue.SimpleQueue()
        self._threads: Threads | None = None

    def __enter__(self) -> DeliveryQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Wait for the deliveries under way, and begin no other. Safe to call twice."""
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
        """Let nobody wait for room any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def submit(self, info: ShardInfo, input_digest: str) -> None:
        """Deliver a shard that was made after an `acquire`; does not wait for its arrival."""
        if self._threads is None:
            self._threads = Threads(self._room, purpose="deliver")
        self._submitted += 1
        self._threads.start(self._run, info, input_digest)

    def _run(self, info: ShardInfo, input_digest: str) -> None:
        failure: BaseException | None = None
        try:
            self._deliver(info, input_digest)
        except BaseException as error:  # noqa: BLE001 - raised where the result is taken
            failure = error
        self._ended.put((info, failure))
        with self._changed:
            self._free += 1
            self._changed.notify()

    def poll(self) -> list[ShardInfo]:
        """Return the shards that have arrived since the last call; raises what went wrong with one."""
        return [self._next() for _ in range(self._ended.qsize())]

    def drain(self) -> Iterator[ShardInfo]:
        """Wait for all that was submitted, and yield each as it arrives."""
        while self._seen < self._submitted:
            yield self._next()

    def _next(self) -> ShardInfo:
        info, failure = self._ended.get()
        self._seen += 1
        if failure is not None:
            raise failure
        return info
