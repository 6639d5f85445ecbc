"""Keys that samples hold on to: no read, and no map of an index that was let go of."""

from __future__ import annotations

import pytest

from shardpack.format.shard_index import parse_index
from shardpack.read.shard_keys import ShardKeys
from tests.read.datasets import numbered, write


@pytest.mark.parametrize("detached", [False, True])
def test_keys_by_position(tmp_path, detached):
    samples = numbered(5)
    folder = write(tmp_path, {**samples, "last": {"bin": b""}})
    (path,) = [path for path in folder.rglob("*.index") if path.name.startswith("shard-") and "000000" in path.name]
    buffer = bytearray(path.read_bytes())
    keys = ShardKeys(parse_index(buffer, name="x"), 100)
    if detached:
        keys.detach()
        buffer[:] = bytes(len(buffer))
    assert [keys.key_at(100 + i).decode() for i in range(6)] == [*samples, "last"]
    assert keys.text_at(105) == "last"
