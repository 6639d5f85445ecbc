"""How shards are compressed, as users write it."""

from __future__ import annotations

import pytest

from shardpack.errors import OptionError
from shardpack.write.shard_compression import ShardCompression, recorded_compression, shard_compression


@pytest.mark.parametrize(
    ("compress", "frame_bytes", "expected"),
    [
        (None, None, None),
        ({}, None, None),
        ({"json": "zstd:9"}, None, None),
        ({"shards": "zstd"}, None, ShardCompression(3, 16384)),
        ({"shards": "zstd:19", "json": "zstd"}, "64KiB", ShardCompression(19, 65536)),
        ({"shards": "zstd:1"}, 1, ShardCompression(1, 1)),
    ],
)
def test_what_options_mean(compress, frame_bytes, expected):
    assert shard_compression(compress, frame_bytes) == expected


@pytest.mark.parametrize(
    ("compress", "frame_bytes", "reason"),
    [
        (None, "16KiB", "--compress shards=zstd:3. as well"),
        ({"json": "zstd"}, "16KiB", "frame_bytes is for compressed shards"),
        ({"shards": "gzip"}, None, "expected zstd"),
        ({"shards": "zstd:0"}, None, "level from 1 to 22"),
        ({"shards": "zstd:23"}, None, "level from 1 to 22"),
        ({"shards": 3}, None, "expected zstd"),
        ({"shards": "zstd"}, 0, "frame_bytes is 0, expected an integer"),
        ({"shards": "zstd"}, "1GiB", "frame_bytes is 1073741824, expected an integer"),
        ({"shards": "zstd"}, "much", "not a size"),
    ],
)
def test_refused(compress, frame_bytes, reason):
    with pytest.raises(OptionError, match=reason):
        shard_compression(compress, frame_bytes)


def test_what_the_manifest_keeps():
    assert recorded_compression(None) == {}
    assert recorded_compression(ShardCompression(7)) == {"shards": "zstd:7"}
