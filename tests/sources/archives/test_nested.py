"""Parts of archives as objects: ranges of what is stored, and what is deflated from its start to its end."""

from __future__ import annotations

import pickle

import pytest

from shardpack.errors import CorruptShardError
from shardpack.sources.archives.nested import MemberStream, PartStore
from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_store import parse_member
from shardpack.storage.memory import MemoryStore
from tests.sources.archives.zips import Entry, deflated, raw_zip

CONTENT = bytes(n * n % 251 for n in range(1 << 16)) * 50


def test_a_part_is_an_object():
    base = MemoryStore({"x": b"0123456789"})
    part = pickle.loads(pickle.dumps(PartStore(base, "x", 3, 5)))
    assert part.get("x") == b"34567"
    assert part.get_ranges("x", starts=[4, 0], lengths=[1, 2]) == [b"7", b"34"]
    assert part.version("x") == base.version("x")
    for start, length in ((0, 6), (5, 1), (-1, 2)):
        with pytest.raises(CorruptShardError, match="truncated"):
            part.get_range("x", start=start, length=length)


def stream_of(entry):
    store = MemoryStore({"x.zip": raw_zip(Entry(b"before"), entry)})
    members = list_zip(store, "x.zip", 0)
    return store, MemberStream(store, parse_member(members.references[-1].path))


@pytest.mark.parametrize("method", [0, 8])
def test_ranges_in_order_are_read_once(method):
    entry = Entry(b"a", CONTENT, method=method)
    store, stream = stream_of(entry)
    before = store.stats.snapshot().bytes_fetched
    assert stream.size("a") == len(CONTENT)
    ranges = [(start, min(100_000, len(CONTENT) - start)) for start in range(0, len(CONTENT), 100_000)]
    assert b"".join(stream.get_range("a", start=a, length=n) for a, n in ranges) == CONTENT
    stored = len(CONTENT) if method == 0 else len(deflated(CONTENT))
    assert store.stats.snapshot().bytes_fetched - before == stored + 30  # and the local header


@pytest.mark.parametrize("method", [0, 8])
def test_ranges_out_of_order_begin_again(method):
    _, stream = stream_of(Entry(b"a", CONTENT, method=method))
    for start, length in ((0, 10), (0, 10), (500, 10), (5, 10), (0, 0), (len(CONTENT) - 1, 1)):
        assert stream.get_range("a", start=start, length=length) == CONTENT[start : start + length]
    with pytest.raises(CorruptShardError, match="truncated"):
        stream.get_range("a", start=1, length=len(CONTENT))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (Entry(b"a", crc32=1), "CRC-32 differs"),
        (Entry(b"a", method=8, crc32=1), "CRC-32 differs"),
        (Entry(b"a", method=8, stored=b"\xff" * 20), "cannot be inflated"),
        (Entry(b"a", method=8, stored=deflated(b"content!")), "more bytes"),
        (Entry(b"a", method=8, stored=deflated(b"conten")), "CRC-32|fewer bytes"),
    ],
)
def test_damaged_members_are_named(entry, reason):
    _, stream = stream_of(entry)
    with pytest.raises(CorruptShardError, match=f"member 'a'.*({reason})"):
        stream.get_range("a", start=0, length=7)
