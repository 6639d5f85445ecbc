"""Members of zips as objects of a store: whole and in parts, in few requests, checked against CRC-32."""

from __future__ import annotations

import pickle
import tracemalloc
import zipfile
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError
from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_store import ZipMember, ZipStore, parse_member
from shardpack.storage.base_store import Wrapper
from shardpack.storage.coalesce import MergeLimits
from shardpack.storage.memory import MemoryStore
from shardpack.storage.protocols import Ranges
from tests.sources.archives.zips import Entry, deflated, make_zip, raw_zip

FILES = {f"{n:03d}.bin": bytes([n]) * (37 * n) for n in range(40)}


class _Counting(Wrapper):
    """A store that merges ranges, and counts what is read of it."""

    merge_limits = MergeLimits(max_gap_bytes=1000, max_request_bytes=1 << 20)

    def __init__(self, base, limits=merge_limits):
        super().__init__(base)
        self.merge_limits, self.reads = limits, []

    def get_range(self, path, *, start, length):
        self.reads.append((start, length))
        return self._base.get_range(path, start=start, length=length)

    def size(self, path):
        return self._base.size(path)


def _opened(archive: bytes):
    base = _Counting(MemoryStore({"x.zip": archive}))
    members = list_zip(base, "x.zip", 0)
    listed = dict(zip(members.names, members.references, strict=True))
    base.reads.clear()
    return SimpleNamespace(base=base, store=ZipStore(base), path={name: at.path for name, at in listed.items()})


@given(
    numbers=st.tuples(*[st.integers(0, 1 << 60)] * 6), archive=st.text(min_size=1, max_size=9), name=st.text(max_size=9)
)
def test_a_path_says_all_about_a_member(numbers, archive, name):
    member = ZipMember(archive, *numbers, name)
    assert parse_member(member.path) == member or "!" in archive


def test_other_paths_are_refused():
    with pytest.raises(CorruptShardError, match="not a member of a zip"):
        ZipStore(MemoryStore({})).size("x.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_neighbouring_members_are_one_request(method):
    opened = _opened(make_zip(FILES, method=method))
    wanted = [Ranges(opened.path[name], [0], [len(content)]) for name, content in FILES.items()]
    assert opened.store.get_many(wanted) == [[content] for content in FILES.values()]
    assert len(opened.base.reads) == 1


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@given(start=st.integers(0, 3000), length=st.integers(0, 3000))
def test_parts_of_members(method, start, length):
    content = bytes(range(256)) * 8
    opened = _opened(make_zip({"a": content, "b": b"next"}, method=method))
    if start + length <= len(content):
        assert opened.store.get_range(opened.path["a"], start=start, length=length) == content[start : start + length]
    elif length:
        with pytest.raises(CorruptShardError, match="truncated"):
            opened.store.get_range(opened.path["a"], start=start, length=length)


def test_several_parts_of_one_member():
    opened = _opened(make_zip({"a": b"0123456789"}, method=zipfile.ZIP_DEFLATED))
    assert opened.store.get_ranges(opened.path["a"], starts=[7, 0], lengths=[3, 2]) == [b"789", b"01"]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_first_bytes_of_a_large_member_cost_few(method):
    content = bytes(n * n % 251 for n in range(1 << 16)) * 4
    opened = _opened(make_zip({"a": content}, method=method))
    assert opened.store.get_range(opened.path["a"], start=0, length=12) == content[:12]
    assert sum(length for _, length in opened.base.reads) < 2000


def test_first_bytes_that_lie_behind_empty_blocks_are_found():
    empty = b"\0\0\0\xff\xff" * 1000  # stored blocks of no bytes
    archive = raw_zip(Entry(b"a", b"found" * 500, method=8, stored=empty + deflated(b"found" * 500)))
    opened = _opened(archive)
    assert opened.store.get_range(opened.path["a"], start=0, length=5) == b"found"


def test_sizes_and_versions():
    opened = _opened(make_zip({"a": b"0123456789"}, method=zipfile.ZIP_DEFLATED))
    assert opened.store.size(opened.path["a"]) == opened.store.version(opened.path["a"]).size == 10
    assert not opened.base.reads


def test_pickles_without_the_directory():
    opened = _opened(make_zip({"a": b"0123456789"}))
    store = pickle.loads(pickle.dumps(ZipStore(MemoryStore({"x.zip": make_zip({"a": b"0123456789"})}))))
    assert store.get_range(opened.path["a"], start=0, length=10) == b"0123456789"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry(b"a", crc32=1), "CRC-32 differs"),
        (Entry(b"a", method=8, crc32=1), "CRC-32 differs"),
        (Entry(b"a", method=8, stored=deflated(b"content!")), "has more or fewer"),
        (Entry(b"a", method=8, stored=deflated(b"conten")), "has more or fewer"),
        (Entry(b"a", method=8, stored=deflated(b"content") + b"junk"), "has more or fewer"),
        (Entry(b"a", method=8, stored=deflated(b"content")[:-1]), "has more or fewer"),
        (Entry(b"a", method=8, stored=b"\xff" * 20), "cannot be inflated"),
        (Entry(b"a", b"", method=8, stored=deflated(b"x")), "has more or fewer"),
    ],
)
def test_damaged_members_are_named(entry, reason):
    opened = _opened(raw_zip(entry, Entry(b"b")))
    size = opened.store.size(opened.path["a"])
    with pytest.raises(CorruptShardError, match=f"member 'a'.*{reason}"):
        opened.store.get_many([Ranges(opened.path["a"], [0], [size])])
    assert opened.store.get_range(opened.path["b"], start=0, length=7) == b"content"


@pytest.mark.parametrize("at", [0, 8, 26, 28, 30])
def test_a_local_header_that_contradicts_the_directory_is_refused(at):
    archive = bytearray(raw_zip(Entry(b"a")))
    archive[at] ^= 0x40
    opened = _opened(bytes(archive))
    with pytest.raises(CorruptShardError, match="local header contradicts"):
        opened.store.get_range(opened.path["a"], start=0, length=7)


def test_a_bomb_takes_no_more_memory_than_it_claims():
    bomb = deflated(bytes(32 << 20))  # 32 KB
    opened = _opened(raw_zip(Entry(b"a", method=8, stored=bomb, size=1000)))
    tracemalloc.start()
    with pytest.raises(CorruptShardError, match="has more or fewer"):
        opened.store.get_range(opened.path["a"], start=0, length=1000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
