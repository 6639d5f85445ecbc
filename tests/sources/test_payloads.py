"""Payloads are read alike from files, ranges of objects and inline bytes."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from shardpack.errors import CorruptShardError, SourceError
from shardpack.format.checksum import crc32c
from shardpack.sources.listing import Listing, Reference
from shardpack.sources.payloads import check_payloads, read_into, read_payload
from shardpack.storage.local import LocalStore

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
        def get_ranges(self, path, *, starts, lengths):
            asked.append((path, starts, lengths))
            return [PAYLOADS[2], PAYLOADS[3], PAYLOADS[4]]

    read_all(replace(listing, stores=(Asked(),)))
    assert asked == [("object", [2, 8, 15], [6, 7, 0])]


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
