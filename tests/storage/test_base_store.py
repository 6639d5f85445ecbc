"""What follows from ranges and sizes alone."""

from __future__ import annotations

import pytest

from shardpack.errors import ObjectTooLargeError
from shardpack.storage.base_store import BaseStore, check_size, raise_truncated
from tests.storage.contract import StoreContract


class Plain(BaseStore):
    """The least that a store must do itself."""

    def __init__(self, objects):
        super().__init__("plain://")
        self.objects = objects

    def size(self, path):
        return len(self.objects[path])

    def get_range(self, path, *, start, length):
        if start + length > self.size(path):
            raise_truncated(path, start, length, self.size(path))
        self.stats.add_requests(1, length)
        return self.objects[path][start : start + length]


class TestPlain(StoreContract):
    @classmethod
    def make_store(cls, objects):
        return Plain(objects)

    # These are about what a store does by itself.
    test_no_bytes_are_everywhere = test_missing_objects_are_named = test_errors_belong_to_the_family = None
    test_failed_reads_are_not_counted = test_pickles_without_its_handles = None


@pytest.mark.parametrize(("size", "limit"), [(0, 0), (5, 5), (5, None), (4, 5)])
def test_what_is_not_too_large_passes(size, limit):
    check_size("a", size, limit)


def test_what_is_too_large_is_refused():
    with pytest.raises(ObjectTooLargeError, match=r"expected at most 1\.0 MiB, it has 1\.0 GiB"):
        check_size("a", 1 << 30, 1 << 20)
