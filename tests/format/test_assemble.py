"""From finished shards to files: counts, checksums, and the order of publication."""

from __future__ import annotations

import shardpack
from shardpack.format.assemble import encode_dataset, recorded_options
from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.manifest import ShardInfo, parse_manifest

INFO = ShardInfo("shard-000000.tar", 2, 10, 1, 20, 2, {"jpg": 2})


def test_the_manifest_is_the_last_file_and_tells_of_the_others():
    hashes = hash_keys([b"a", b"b"], 2)
    whole, files = encode_dataset([INFO], hashes, classes=["x"], packed_with=recorded_options(), rejected=[("c", "d")])
    assert [name for name, _ in files] == ["rejected.jsonl", "keys.index", "shardpack.json"]
    keys = b"".join(dict(files)["keys.index"])
    assert whole.keys == {"name": "keys.index", "num_bytes": len(keys), "crc32c": f"{crc32c(keys):08x}", "unique": True}
    assert parse_manifest(b"".join(files[-1][1])) == whole
    assert b"".join(files[0][1]) == b'{"name": "c", "reason": "d"}\n'


def test_what_is_recorded_says_how_and_not_when():
    recorded = recorded_options(a=1, b=None, c=False)
    assert recorded == {"shardpack": shardpack.__version__, "options": {"a": 1, "c": False}}
