"""The files of a zip: found in one or two ranges."""

from __future__ import annotations

from shardpack.sources.archives.zip import list_zip
from shardpack.sources.archives.zip_directory import TAIL_BYTES
from shardpack.storage.memory import MemoryStore
from tests.sources.archives.zips import Entry, make_zip, raw_zip, read_all


def _requests(archive):
    store = MemoryStore({"x.zip": archive})
    members = list_zip(store, "x.zip", 0)
    return members, store.stats.snapshot().requests


def test_a_small_directory_costs_one_range():
    members, requests = _requests(make_zip({"big": bytes(1 << 20), "small": b"x"}))
    assert members.names == ["big", "small"]
    assert requests == 1


def test_a_large_directory_costs_two():
    files = {f"{'folder/' * 10}{n:06d}.jpg": b"%d" % n for n in range(4000)}
    archive = make_zip(files)
    assert len(archive) > 2 * TAIL_BYTES
    members, requests = _requests(archive)
    assert requests == 2
    assert members.names == list(files)
    assert read_all(archive) == files


def test_what_is_no_file_is_told_apart():
    entries = [Entry(b"a"), Entry(b"f/", b""), Entry(b"l", attributes=0o120777 << 16), Entry(b"e", flags=1)]
    members, _ = _requests(raw_zip(*entries))
    assert members.names == ["a"]
    assert members.left_out == [("l", "a link in an archive")]
    assert [name for name, _ in members.refused] == ["e"]
