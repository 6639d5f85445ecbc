"""Hashes by one pass, whatever the pieces."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given

from shardpack.export.indexes.shard_members import members_of
from shardpack.export.indexes.tar_hashes import hash_tar
from tests.export.indexes.samples import members
from tests.strategies import chunked, cuts, examples


@examples(20)
@given(lengths=cuts())
def test_in_any_pieces(ds, lengths):
    for number, info in enumerate(ds.shards):
        tar = Path(ds.location, info.name)
        data = tar.read_bytes()
        payloads = [data[one.offset_data : one.offset_data + one.size] for one in members(tar)]
        index = ds.stream_input().cache.get(number).index
        found = hash_tar(chunked(data, lengths), len(data), members_of(index, info.name))
        assert found.members == [hashlib.sha256(payload).hexdigest() for payload in payloads]
        assert found.sha256 == hashlib.sha256(data).hexdigest()
        assert found.md5 == hashlib.md5(data).hexdigest()
        assert found.git_sha1 == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
