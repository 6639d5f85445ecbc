"""Compressed shards shown as plain tars: all that a store must do, and what it costs below."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError
from shardpack.format.frames import Frames
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.frame_store import FrameStore
from shardpack.storage.local import LocalStore
from shardpack.storage.memory import MemoryStore
from shardpack.storage.stats import Stats
from tests.format.builders import judge_module
from tests.storage.contract import DATA, StoreContract
from tests.storage.framed import compressed, framed


class Known(dict):
    """Frames by name, as a dataset knows them."""

    def __missing__(self, name):
        raise ShardNotFoundError(f"no object {name!r}; check the name", path=name)


def store_of(objects, frame_bytes=1000, **options):
    files, frames = framed(objects, frame_bytes)
    base = MemoryStore(files)
    for name, value in options.items():
        setattr(base, name, value)
    return FrameStore(base, Known(frames))


def test_a_long_frame_is_not_kept():
    files, frames = framed({"a": DATA})
    store = FrameStore(MemoryStore(files), frames, kept_bytes=999)
    for _ in range(2):
        assert store.get_range("a", start=10, length=20) == DATA[10:30]
        assert store.get_ranges("a", starts=[10], lengths=[20]) == [DATA[10:30]]
    assert store.stats.snapshot().requests == 4


def test_a_frame_that_is_longer_than_libzstd_makes_it_is_read_all_the_same():
    """Here by many empty blocks; more of them than a frame before long skippable frames is taken for."""
    module = judge_module("zstandard")
    untold = module.ZstdCompressor().compressobj()
    one = untold.compress(DATA) + b"".join(untold.flush(module.COMPRESSOBJ_FLUSH_BLOCK) for _ in range(3))
    empty = b"\0\0\0" * 30_000
    one += empty + untold.flush()
    frames = Frames(np.array([0, len(one)], np.uint64), np.array([0, len(DATA)], np.uint64))
    assert frames.gaps == [0]
    store = FrameStore(MemoryStore({"a": one}), {"a": frames})
    assert store.get_range("a", start=10, length=20) == DATA[10:30]
    assert store.stats.snapshot().requests == 2


class TestFrameStore(StoreContract):
    each_read_is_a_request = False  # a frame serves many

    @classmethod
    def make_store(cls, objects):
        return store_of(objects)

    def test_reads_are_counted(self):
        store = store_of({"a.bin": DATA})
        file, frames = compressed(DATA)
        store.get_range("a.bin", start=10, length=900)
        assert store.stats.snapshot() == Stats(requests=1, bytes_fetched=frames.stored_at[1])
        store.get_range("a.bin", start=0, length=1000)
        assert store.stats.snapshot().requests == 1, "the frame is still there"
        store.get_range("a.bin", start=1000, length=len(DATA) - 1000)
        assert store.stats.snapshot() == Stats(requests=2, bytes_fetched=frames.stored_at[len(frames)])
        assert frames.stored_at[len(frames)] < len(file)
        store.close()
        store.get_range("a.bin", start=0, length=1)
        assert store.stats.snapshot().requests == 3, "closing drops the frames that are kept"

    def test_failed_reads_are_not_counted(self):
        store = store_of({"a.bin": DATA})
        with pytest.raises(CorruptShardError):
            store.get_range("a.bin", start=len(DATA), length=1)
        assert store.stats.snapshot() == Stats()


class TestLargeFrames(TestFrameStore):
    """Everything in one frame, which is too large to be kept."""

    @classmethod
    def make_store(cls, objects):
        return store_of(objects, 300 << 10)


class TestOnDisk(TestFrameStore):
    @classmethod
    def make_store(cls, objects):
        folder = Path(tempfile.mkdtemp())
        files, frames = framed(objects)
        for name, data in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)
        return FrameStore(LocalStore(folder), Known(frames))


def test_neighbouring_frames_are_one_range():
    store = store_of({"a": DATA, "b": DATA}, merge_limits=MergeLimits(0, 1 << 20))
    starts = [2500, 1200, 7000, 1900]
    assert store.get_ranges("a", starts=starts, lengths=[10] * 4) == [DATA[at : at + 10] for at in starts]
    assert store.stats.snapshot().requests == 2, "frames 1 and 2 together, and frame 7"


def test_a_range_over_many_frames_is_one_range():
    store = store_of({"a": DATA * 100})
    assert store.get_pooled_range("a", start=1, length=len(DATA) * 100 - 2) == (DATA * 100)[1:-1]
    assert store.stats.snapshot().requests == 1


def parts_of(store, edges):
    """Return what `each_part` yields, and the offset of the error after it, if there is one."""
    found = []
    try:
        found.extend(store.each_part("a", edges))
    except CorruptShardError as error:
        return found, error.offset
    return found, None


def test_frames_one_after_the_other_are_few_ranges():
    data = DATA * 100
    store = store_of({"a": data})
    edges = [*range(2000, len(data), 1000)]
    assert parts_of(store, edges) == ([data[at : at + 1000] for at in edges[:-1]], None)
    assert 1 < store.stats.snapshot().requests < len(edges) // 20
    assert parts_of(store, [1500, 2500, 2600]) == ([data[1500:2500], data[2500:2600]], None)


def test_frames_before_damage_are_there_and_the_damaged_one_is_named():
    file, frames = compressed(DATA)
    third = frames.stored_at[3]
    shorter, stored = compressed(DATA[3000:3900])
    end = third + stored.stored_at[1]
    other = Frames(np.append(frames.stored[:4], np.uint64(end)), frames.plain[:5])  # says 1000 bytes of it
    for damaged, known in (
        (file[: third + 5], frames),
        (file[:third] + bytes(len(file) - third), frames),
        (file[:third] + shorter[: end - third], other),
    ):
        store = FrameStore(MemoryStore({"a": damaged}), {"a": known})
        parts = [DATA[at : at + 1000] for at in range(0, 3000, 1000)]
        assert parts_of(store, [*range(0, 5000, 1000)]) == (parts, third)


def test_the_last_frame_of_each_thread_is_kept():
    store = store_of({"a": DATA, "b": DATA})

    def read(name, start):
        before = store.stats.snapshot().requests
        assert store.get_range(name, start=start, length=10) == DATA[start : start + 10]
        return store.stats.snapshot().requests - before

    assert [read("a", 100), read("a", 900), read("b", 900), read("a", 100), read("a", 1100)] == [1, 0, 1, 1, 1]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(read, "a", 1200).result() == 1
    assert read("a", 1300) == 0
    store.get_ranges("a", starts=[5000, 7000], lengths=[1, 1])
    assert read("a", 7900) == 0


def test_another_frame_than_the_index_says_is_refused():
    file, frames = compressed(DATA)
    data = frames.plain.copy()
    data[1] += 1
    for wrong in (Frames(frames.stored, data), Frames(frames.stored + np.uint64(1), frames.plain)):
        store = FrameStore(MemoryStore({"a": file}), {"a": wrong})
        for read in (
            lambda store=store: store.get_range("a", start=0, length=5),
            lambda store=store: store.get_ranges("a", starts=[0, 3000], lengths=[5, 5]),
            lambda store=store: store.get_pooled_range("a", start=0, length=5000),
        ):
            with pytest.raises(CorruptShardError, match=r"index (says|tells|describes)"):
                read()


def test_skippable_frames_between_frames():
    gap = b"\x53\x2a\x4d\x18\x03\0\0\0abc"
    parts = [compressed(DATA[at : at + 5000], 5000, table=False)[0] for at in range(0, len(DATA), 5000)]
    starts = np.cumsum([len(gap)] + [len(part) + len(gap) for part in parts])
    frames = Frames(starts.astype("<u8"), np.array([0, 5000, 10000, len(DATA)], "<u8"))
    store = FrameStore(MemoryStore({"a": gap + gap.join(parts) + gap}), {"a": frames})
    assert store.get_range("a", start=4000, length=2000) == DATA[4000:6000]
    assert store.get_range("a", start=0, length=len(DATA)) == DATA


def test_hints_are_those_of_the_frames():
    class Hinted(MemoryStore):
        hints = ()

        def prefetch(self, path, *, starts, lengths):
            self.hints = (path, [*starts], [*lengths])

        def is_cached(self, _path, start):
            return start == 0

    file, frames = compressed(DATA)
    base = Hinted({"a": file})
    store = FrameStore(base, {"a": frames})
    store.prefetch("a", starts=[100, 1999], lengths=[5, 2])
    first, second, _, fourth = frames.stored_at[:4]
    assert base.hints == ("a", [first, second], [second - first, fourth - second])
    assert store.is_cached("a", 999)
    assert not store.is_cached("a", 1000)
