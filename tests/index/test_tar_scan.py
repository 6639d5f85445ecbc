"""A tar in pieces of any length has one index; what follows its end is not parsed."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shardpack.errors import CorruptShardError
from shardpack.index.tar_scan import TarScan
from tests.format.builders import entry
from tests.strategies import examples

TAR = entry(b"a.jpg", b"1" * 700) + entry(b"a.json", b"{}") + entry(b"b.jpg", b"2") + bytes(1024)


def scanned(pieces, **options):
    scan = TarScan("x.tar", ignore=[], **options)
    members = [member.name for piece in pieces for member in scan.feed(piece)]
    return members, scan.finish(num_bytes=len(TAR), shard_crc32c=0)


@examples(30)
@given(st.lists(st.integers(1, len(TAR)), max_size=8))
def test_any_pieces_give_one_index(cuts):
    edges = [0, *sorted(set(cuts)), len(TAR)]
    members, indexed = scanned([TAR[a:b] for a, b in pairwise(edges)])
    assert members == ["a.jpg", "a.json", "b.jpg"]
    whole = scanned([TAR])[1].index
    assert indexed.index.keys() == whole.keys() == ["a", "b"]
    assert indexed.index.crc32c.tolist() == whole.crc32c.tolist()


def test_what_follows_the_end_is_not_parsed():
    scan = TarScan("x.tar", ignore=[])
    assert len(scan.feed(TAR)) == 3
    assert scan.ended
    assert scan.feed(b"no tar" * 1000) == []


def test_a_tar_that_ends_without_a_sample_is_refused_at_once():
    with pytest.raises(CorruptShardError, match=r"tar has no samples \(1 files without a key and a field\)"):
        TarScan("x.tar", ignore=[]).feed(entry(b"README", b"1") + bytes(1024))


def test_errors_of_the_tar_inside_name_it():
    scan = TarScan("x.tar.zst", ignore=[], plain_name="x.tar")
    with pytest.raises(CorruptShardError) as caught:
        scan.feed(b"\1" * 512)
    assert caught.value.shard == "x.tar"
