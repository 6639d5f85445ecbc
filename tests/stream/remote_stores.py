"""Stores in memory that are read like a bucket: one counts the requests that overlap, one makes them overlap."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from tests.read.datasets import CountingStore

SECONDS_TO_WAIT = 60  # for what comes at once unless it never comes


class RemoteStore(CountingStore):
    """A store whose requests take a while. `under_way` is how many there are now, `most_under_way` were at once."""

    remote = True
    prefetch_depth = 16

    def __init__(self, objects, *, seconds=0.0, gap=4096, most=1 << 20):
        super().__init__(objects, gap=gap, most=most)
        self.seconds, self.under_way, self.most_under_way = seconds, 0, 0
        self.lock = threading.Lock()

    def get_range(self, path, *, start, length):
        with self.counted():
            self.delay(path)
            return super().get_range(path, start=start, length=length)

    @contextmanager
    def counted(self):
        with self.lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1

    def delay(self, path):  # noqa: ARG002 - for others
        time.sleep(self.seconds)


class HeldStore(RemoteStore):
    """Answers two requests for tars, and no more until `go_on`; the later ones wait for others, so that they meet.

    `together` is set once `at_once` requests have met. A reader that starts slowly has had some answers before that. A
    later request gives up waiting after a second: others may have overtaken it, and the reader wants its answer first.
    """

    LATER = 8

    def __init__(self, objects, *, at_once, going=True, **options):
        super().__init__(objects, **options)
        self.at_once, self.asked, self.waiting = at_once, 0, 0
        self.go_on, self.together = threading.Event(), threading.Event()
        if going:
            self.go_on.set()

    def delay(self, path):
        if not path.endswith(".tar"):
            return
        with self.lock:
            self.asked += 1
            number = self.asked
        if number > 2:
            assert self.go_on.wait(SECONDS_TO_WAIT), "the first sample does not come before the third answer"
        if number > self.LATER:
            self._meet()

    def _meet(self):
        with self.lock:
            self.waiting += 1
            if self.waiting >= self.at_once:
                self.together.set()
        self.together.wait(1)
        with self.lock:
            self.waiting -= 1
