"""What every store must do, whatever it is. A store's test class says how to fill it, past the code under test."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardpack.errors import (
    CorruptShardError,
    ObjectTooLargeError,
    OutputExistsError,
    ShardNotFoundError,
    ShardpackError,
    StorageError,
)
from shardpack.storage.buffer_pool import view_of
from shardpack.storage.stats import Stats

DATA = bytes(range(256)) * 40
ranges = st.tuples(st.integers(0, len(DATA)), st.integers(0, len(DATA))).map(sorted)
many_stores = settings(suppress_health_check=[HealthCheck.differing_executors])  # one suite, a class a store
BEYOND = [(0, len(DATA) + 1), (len(DATA), 1), (len(DATA) - 1, 2), (10**6, 10), (0, 1 << 40), (1 << 40, 1 << 40)]


class StoreContract:
    """Subclass per store; `make_store` gives one that holds these objects."""

    each_read_is_a_request = True
    folder_in_errors = ""  # before the name of an object

    @classmethod
    def make_store(cls, objects):
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls):
        return cls.make_store({"a.bin": DATA, "sub/b.bin": b"b" * 100, "empty.bin": b""})

    @many_stores
    @given(pair=ranges)
    def test_any_range(self, store, pair):
        start, end = pair
        assert store.get_range("a.bin", start=start, length=end - start) == DATA[start:end]

    @many_stores
    @given(pairs=st.lists(ranges, max_size=20))
    def test_many_ranges_come_in_the_order_asked(self, store, pairs):
        starts, lengths = [start for start, _ in pairs], [end - start for start, end in pairs]
        found = store.get_ranges("a.bin", starts=starts, lengths=lengths)
        assert found == [DATA[start:end] for start, end in pairs]
        assert all(type(data) is bytes for data in found)

    def test_parts_come_one_after_the_other(self, store):
        for edges in ([0, len(DATA)], [3, 1000, 1001, 2000, 3000], [*range(0, 10_001, 1000)]):
            found = list(store.each_part("a.bin", edges))
            assert found == [DATA[begin:end] for begin, end in pairwise(edges)]
            assert all(type(data) is bytes for data in found)

    def test_names_may_hold_folders(self, store):
        assert store.get_range("sub/b.bin", start=1, length=3) == b"bbb"

    def test_lent_ranges_have_slices_of_bytes(self):
        data = DATA * 100
        store = self.make_store({"a.bin": data})
        for start, length in ((0, len(data)), (5, 300_000), (7, 10), (3, 0)):
            for _ in range(2):
                pooled = store.get_pooled_range("a.bin", start=start, length=length)
                assert len(pooled) == length
                assert type(pooled[3:9]) is bytes
                assert pooled[3:9] == data[start : start + length][3:9]
                assert view_of(pooled) == data[start : start + length]
                del pooled
        with pytest.raises(CorruptShardError, match="truncated"):
            store.get_pooled_range("a.bin", start=len(data) - 10, length=300_000)

    def test_sizes(self, store):
        assert [store.size(name) for name in ("a.bin", "sub/b.bin", "empty.bin")] == [len(DATA), 100, 0]

    def test_whole_objects(self, store):
        assert bytes(store.get("a.bin")) == DATA
        assert bytes(store.get("empty.bin")) == b""
        assert memoryview(store.get("a.bin")).readonly

    def test_whole_objects_may_have_a_limit(self, store):
        assert bytes(store.get("a.bin", max_bytes=len(DATA))) == DATA
        with pytest.raises(
            ObjectTooLargeError, match=r"too large: expected at most 1000 B, it has 10\.0 KiB"
        ) as caught:
            store.get("a.bin", max_bytes=1000)
        assert caught.value.path == f"{self.folder_in_errors}a.bin"

    def test_versions_tell_the_length(self, store):
        assert store.version("a.bin").size == len(DATA)

    def test_what_others_ask_is_answered(self, store):
        assert isinstance(store.location, str)
        assert store.remote in (True, False)
        assert (store.prefetch_depth > 0) == store.remote
        assert store.folder is None or not store.remote

    def test_reads_go_on_after_closing(self):
        store = self.make_store({"a.bin": DATA})
        assert store.get_ranges("a.bin", starts=[0, 5], lengths=[5, 5]) == [DATA[:5], DATA[5:10]]
        store.close()
        store.close()
        assert store.get_ranges("a.bin", starts=[0, 5], lengths=[5, 5]) == [DATA[:5], DATA[5:10]]

    def test_maps(self, store):
        mapped = store.map("a.bin")
        if mapped is not None:
            store.prefetch("a.bin", starts=[0, 300], lengths=[10, 10])
            assert store.is_cached("a.bin", 300) in (True, False)
            assert (mapped[300:310], mapped[0:0], len(mapped)) == (DATA[300:310], b"", len(DATA))
        assert not store.map("empty.bin")

    @pytest.mark.parametrize(("start", "length"), BEYOND)
    def test_nothing_is_returned_beyond_the_end(self, store, start, length):
        for read in (
            lambda: store.get_range("a.bin", start=start, length=length),
            lambda: store.get_ranges("a.bin", starts=[0, start], lengths=[1, length]),
        ):
            with pytest.raises(CorruptShardError, match=r"truncated.* has 10240; restore") as caught:
                read()
            assert (caught.value.path, caught.value.offset) == (f"{self.folder_in_errors}a.bin", start)

    def test_no_bytes_are_everywhere(self, store):
        for start in (0, 5, len(DATA), len(DATA) + 5):
            assert store.get_range("a.bin", start=start, length=0) == b""
        assert store.get_range("empty.bin", start=0, length=0) == b""
        assert store.get_ranges("a.bin", starts=[], lengths=[]) == []

    @pytest.mark.parametrize("name", ["c.bin", "a.bin/x", "nowhere/c.bin"])
    def test_missing_objects_are_named(self, store, name):
        for read in (
            lambda: store.get_range(name, start=0, length=1),
            lambda: store.get_ranges(name, starts=[0, 1], lengths=[1, 1]),
            lambda: store.size(name),
            lambda: store.get(name),
            lambda: store.map(name),
        ):
            with pytest.raises(ShardNotFoundError, match=name) as caught:
                read()
            assert isinstance(caught.value, FileNotFoundError)
            assert caught.value.path == f"{self.folder_in_errors}{name}"

    def test_reads_are_counted(self):
        store = self.make_store({"a.bin": DATA})
        assert store.stats.snapshot() == Stats()
        store.get_range("a.bin", start=0, length=10)
        store.get_ranges("a.bin", starts=[0, 20], lengths=[5, 6])
        assert store.stats.snapshot() == Stats(requests=3, bytes_fetched=21)
        store.get("a.bin")
        assert store.stats.snapshot() == Stats(requests=4, bytes_fetched=21 + len(DATA))
        store.stats.add_used(7)
        assert store.stats.snapshot().bytes_used == 7

    def test_failed_reads_are_not_counted(self):
        store = self.make_store({"a.bin": DATA})
        with pytest.raises(CorruptShardError):
            store.get_range("a.bin", start=len(DATA), length=1)
        with pytest.raises(ShardNotFoundError):
            store.get("b.bin")
        assert store.stats.snapshot() == Stats()

    def test_pickles_without_its_handles(self):
        store = self.make_store({"a.bin": DATA})
        store.get_range("a.bin", start=0, length=1)
        copy = pickle.loads(pickle.dumps(store))
        assert type(copy) is type(store)
        assert copy.stats.snapshot() == Stats()
        assert copy.location == store.location
        assert copy.merge_limits == store.merge_limits
        assert copy.get_range("a.bin", start=5, length=10) == DATA[5:15]

    def test_threads_share_a_store(self):
        names = [f"{i}.bin" for i in range(8)]
        store = self.make_store({name: name.encode() * 5000 for name in names})
        gate = threading.Barrier(16)

        def read(number):
            gate.wait()
            for i in range(200):
                name = names[(number + i) % len(names)]
                start = 5 * (37 * i % 4000)
                assert store.get_range(name, start=start, length=10) == name.encode() * 2
                assert store.get_ranges(name, starts=[start, 0], lengths=[5, 5]) == [name.encode()] * 2

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(read, range(16)))
        if self.each_read_is_a_request:
            assert store.stats.snapshot().requests == 16 * 200 * 3

    def test_errors_belong_to_the_family(self, store):
        with pytest.raises(ShardpackError):
            store.size("c.bin")


class WritableContract:
    """What stores that can be written to do besides; for classes that are a `StoreContract` too."""

    def test_what_is_put_can_be_read(self, tmp_path):
        store = self.make_store({})
        file = tmp_path / "file"
        file.write_bytes(DATA)
        store.put("a.bin", b"abc")
        store.put("sub/b.bin", file)
        store.put("empty.bin", b"")
        assert [bytes(store.get(name)) for name in ("a.bin", "sub/b.bin", "empty.bin")] == [b"abc", DATA, b""]
        assert store.names() == ["a.bin", "empty.bin", "sub/b.bin"]

    def test_a_put_replaces(self):
        store = self.make_store({"a.bin": DATA})
        assert store.get_range("a.bin", start=0, length=3) == DATA[:3]
        store.put("a.bin", b"abc")
        assert bytes(store.get("a.bin")) == b"abc"
        assert store.size("a.bin") == 3

    def test_what_is_put_may_say_how_it_is_cached(self):
        store = self.make_store({})
        store.put("a.bin", b"abc", cache_control="no-cache")
        assert bytes(store.get("a.bin")) == b"abc"

    def test_what_is_created_was_not_there(self, tmp_path):
        store = self.make_store({"a.bin": DATA})
        if not store.can_create:
            with pytest.raises(StorageError, match=r"cannot create.*b\.bin"):
                store.create("b.bin", b"b")
            assert store.names() == ["a.bin"]
            return
        (tmp_path / "file").write_bytes(DATA * 100)
        store.create("b.bin", b"b")
        store.create("sub/c.bin", tmp_path / "file")
        assert [bytes(store.get(name)) for name in ("b.bin", "sub/c.bin")] == [b"b", DATA * 100]
        for name, data in (("a.bin", DATA), ("b.bin", b"b")):
            with pytest.raises(OutputExistsError, match=name):
                store.create(name, b"other")
            assert bytes(store.get(name)) == data
        assert store.names() == ["a.bin", "b.bin", "sub/c.bin"]
        store.delete("b.bin")
        store.create("b.bin", b"other")
        assert bytes(store.get("b.bin")) == b"other"

    def test_of_two_writers_one_creates(self):
        store = self.make_store({})
        if not store.can_create:
            return
        gate = threading.Barrier(8)

        def create(number):
            gate.wait()
            try:
                store.create("a.bin", b"%d" % number * 1000)
            except OutputExistsError:
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            (winner,) = [number for number in pool.map(create, range(8)) if number is not None]
        assert bytes(store.get("a.bin")) == b"%d" % winner * 1000
        assert store.names() == ["a.bin"]

    def test_deleted_objects_are_gone(self):
        store = self.make_store({"a.bin": DATA, "b.bin": b"b"})
        assert store.get_range("a.bin", start=0, length=3) == DATA[:3]
        store.delete("a.bin")
        store.delete("a.bin")
        store.delete("c/d.bin")
        assert store.names() == ["b.bin"]
        for read in (
            lambda: store.get("a.bin"),
            lambda: store.get_range("a.bin", start=0, length=3),
            lambda: store.size("a.bin"),
        ):
            with pytest.raises(ShardNotFoundError, match=r"a\.bin"):
                read()

    def test_long_objects_go_in_parts(self, tmp_path):
        data = bytes(range(251)) * (40 << 20 >> 8)
        file = tmp_path / "file"
        file.write_bytes(data)
        store = self.make_store({})
        store.put("long.bin", file)
        assert store.size("long.bin") == len(data)
        assert store.get_range("long.bin", start=5, length=len(data) - 9) == data[5:-4]

    def test_an_empty_store_has_no_names(self):
        assert self.make_store({}).names() == []
