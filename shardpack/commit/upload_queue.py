"""Shards on their way to a bucket: uploaded in threads while others are made, no more than there is room for.

acquire --room--> a worker makes the shard --submit--> a thread uploads it, checks, deletes it --room--> acquire
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from shardpack.format.manifest import ShardInfo

Upload = Callable[[ShardInfo, str], None]


class Uploads:
    """The delivery of shards from a local folder, which holds `jobs` + 1 of them at most. See `Delivery`.

    Threads start with the first shard; leaving waits for the uploads under way.
    """

    def __init__(self, upload: Upload, *, jobs: int) -> None:
        """Deliver with `upload(info, made_of)`, which is called in threads and deletes the local files."""
        self._upload = upload
        self._room = threading.Condition()
        self._free = self._slots = jobs + 1
        self._closed = False
        self._submitted = self._seen = 0
        self._ended: queue.SimpleQueue[tuple[ShardInfo, BaseException | None]] = queue.SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None

    def __enter__(self) -> Uploads:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def acquire(self) -> bool:
        with self._room:
            self._room.wait_for(lambda: self._free or self._closed)
            if self._closed:
                return False
            self._free -= 1
            return True

    def close(self) -> None:
        with self._room:
            self._closed = True
            self._room.notify_all()

    def submit(self, info: ShardInfo, made_of: str) -> None:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._slots, thread_name_prefix="shardpack upload")
        self._submitted += 1
        self._threads.submit(self._deliver, info, made_of)

    def _deliver(self, info: ShardInfo, made_of: str) -> None:
        failure: BaseException | None = None
        try:
            self._upload(info, made_of)
        except BaseException as error:  # noqa: BLE001 - the packer raises it
            failure = error
        self._ended.put((info, failure))
        with self._room:
            self._free += 1
            self._room.notify()

    def arrived(self) -> list[ShardInfo]:
        return [self._next() for _ in range(self._ended.qsize())]

    def rest(self) -> Iterator[ShardInfo]:
        while self._seen < self._submitted:
            yield self._next()

    def _next(self) -> ShardInfo:
        info, failure = self._ended.get()
        self._seen += 1
        if failure is not None:
            raise failure
        return info
