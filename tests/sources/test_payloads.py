"""Payloads are read alike from files, ranges of objects and inline bytes."""

from __future__ import annotations

import importlib.util
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError, SourceError
from shardpack.format.checksum import crc32c
from shardpack.sources import payloads as payloads_module
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.payloads import check_payloads, read_exactly_into, read_into, read_payload
from shardpack.storage.local import LocalStore
from shardpack.storage.protocols import Ranges
from tests.storage.test_local import counts_descriptors, num_open

PAYLOADS = [b"of a file", b"inline", b"of the", b" object", b""]


@pytest.fixture
def listing(tmp_path):
    (tmp_path / "a.bin").write_bytes(PAYLOADS[0])
    (tmp_path / "object").write_bytes(b"--" + PAYLOADS[2] + PAYLOADS[3])
    return Listing(
        root=str(tmp_path),
        fields=("bin",),
        keys=list("abcde"),
        start=np.arange(6),
        field_code=np.zeros(5, np.uint16),
        size=np.array(list(map(len, PAYLOADS))),
        mtime_ns=np.zeros(5, np.int64),
        payload=[
            "a.bin",
            PAYLOADS[1],
            Reference(0, "object", 2),
            Reference(0, "object", 8),
            Reference(0, "object", 15),
        ],
        stores=(LocalStore(str(tmp_path)),),
        crc32c=np.array(list(map(crc32c, PAYLOADS)), np.int64),
    )


def read_all(listing, first=0):
    buffers = [bytearray(int(size)) for size in listing.size[first:]]
    read_into(listing, first, [memoryview(buffer) for buffer in buffers])
    return list(map(bytes, buffers))


def test_every_kind_is_read(listing):
    assert read_all(listing) == PAYLOADS
    assert read_all(listing, 2) == PAYLOADS[2:]
    assert [read_payload(listing, member) for member in range(5)] == PAYLOADS
    assert [read_payload(listing, member, 3) for member in range(5)] == [payload[:3] for payload in PAYLOADS]


def test_listings_with_stores_travel_and_are_cut(listing):
    assert read_all(pickle.loads(pickle.dumps(listing))) == PAYLOADS
    assert read_all(listing.slice(1, 4)) == PAYLOADS[1:4]
    turned = listing.take(np.array([3, 0]))
    assert read_all(turned) == [PAYLOADS[3], PAYLOADS[0]]
    check_payloads(turned, 0, [crc32c(PAYLOADS[3]), crc32c(PAYLOADS[0])])


def test_ranges_of_one_object_are_asked_for_together(listing):
    asked = []

    class Asked:
        def get_many(self, wanted):
            asked.extend(wanted)
            return [[PAYLOADS[2], PAYLOADS[3], PAYLOADS[4]]]

    read_all(replace(listing, stores=(Asked(),)))
    assert asked == [Ranges("object", [2, 8, 15], [6, 7, 0])]


def test_objects_of_one_store_are_asked_for_together(listing):
    asked = []

    class Asked:
        def get_many(self, wanted):
            asked.append([ranges.path for ranges in wanted])
            return [[bytes(length) for length in ranges.lengths] for ranges in wanted]

    payload = [listing.payload[0], Reference(0, "a", 0), Reference(0, "b", 0), Reference(0, "a", 5), b""]
    stored = replace(listing, payload=payload, size=np.array([9, 1, 2, 3, 0]), stores=(Asked(),))
    assert read_all(stored) == [PAYLOADS[0], b"\0", b"\0\0", b"\0\0\0", b""]
    assert asked == [["a", "b", "a"]]


@pytest.mark.parametrize(("content", "got"), [(b"less", "got 4"), (b"more than it was", "got more")])
def test_a_file_that_changed_is_named(listing, tmp_path, content, got):
    (tmp_path / "a.bin").write_bytes(content)
    with pytest.raises(SourceError, match=rf"source changed while packing: expected 9 bytes in '.*a\.bin', {got}; run"):
        read_all(listing)


def test_a_damaged_payload_is_named(listing):
    check_payloads(listing, 1, list(map(crc32c, PAYLOADS[1:])))
    with pytest.raises(CorruptShardError, match="does not have the checksum that is in its index; verify") as caught:
        check_payloads(listing, 2, [crc32c(PAYLOADS[2]), 7])
    assert (caught.value.path, caught.value.key, caught.value.offset) == ("object", "d", 8)


def test_a_payload_without_a_checksum_leaves_the_others_theirs(listing):
    listing.crc32c[2] = -1
    check_payloads(listing, 2, [7, crc32c(PAYLOADS[3])])
    with pytest.raises(CorruptShardError) as caught:
        check_payloads(listing, 2, [7, 7])
    assert caught.value.key == "d"


class TestReadExactlyInto:
    @given(content=st.binary(max_size=100), size=st.integers(0, 100))
    def test_says_how_far_the_length_is_off(self, tmp_path_factory, content, size):
        path = tmp_path_factory.mktemp("files") / "x"
        path.write_bytes(content)
        buffer = bytearray(b"\xff" * size)
        off = read_exactly_into(str(path), memoryview(buffer))
        assert off == (1 if len(content) > size else len(content) - size)
        assert buffer.startswith(content[:size])

    @pytest.mark.skipif(not hasattr(os, "readv"), reason="plain reads are used here")
    @pytest.mark.parametrize("at_most", [1, 3, 99, 100])
    @pytest.mark.parametrize("length", [99, 100, 101])
    def test_reads_cut_short_are_continued(self, tmp_path, monkeypatch, at_most, length):
        content = bytes(range(100))
        (tmp_path / "x").write_bytes(content)
        real = os.readv

        def short(descriptor, buffers):
            return real(descriptor, [memoryview(buffers[0])[:at_most] if len(buffers[0]) > at_most else buffers[0]])

        monkeypatch.setattr(os, "readv", short)
        buffer = bytearray(length)
        assert read_exactly_into(str(tmp_path / "x"), memoryview(buffer)) <= 100 - length
        assert buffer[:100] == content[:length]

    def test_missing_files_and_folders_are_system_errors(self, tmp_path):
        for path in (tmp_path / "nowhere", tmp_path):
            with pytest.raises(OSError, match=r"No such file|Is a directory|Permission"):
                read_exactly_into(str(path), memoryview(bytearray(1)))

    @counts_descriptors
    def test_nothing_stays_open(self, tmp_path):
        (tmp_path / "x").write_bytes(b"abc")
        for size in (0, 3, 5):
            read_exactly_into(str(tmp_path / "x"), memoryview(bytearray(size)))
        with pytest.raises(OSError, match="Is a directory"):
            read_exactly_into(str(tmp_path), memoryview(bytearray(1)))
        assert num_open(tmp_path) == 0


def test_the_fallback_reads_alike(tmp_path, monkeypatch):
    """What Windows runs: the module once more, without readv."""
    monkeypatch.delattr(os, "readv", raising=False)
    spec = importlib.util.spec_from_file_location("payloads_without_readv", payloads_module.__file__)
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    (tmp_path / "x").write_bytes(b"abc")
    for size, off in ((0, 1), (2, 1), (3, 0), (5, -2)):
        buffer = bytearray(size)
        assert plain.read_exactly_into(str(tmp_path / "x"), memoryview(buffer)) == off
        assert buffer == b"abc"[:size].ljust(size, b"\0")
