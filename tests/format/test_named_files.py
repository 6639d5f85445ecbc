"""Each file that a manifest names: its name holds generation and checksum, and only that."""

from __future__ import annotations

import numpy as np
import pytest

from shardpack.format.checksum import crc32c
from shardpack.format.key_index import hash_keys
from shardpack.format.layout import file_path, generation_of
from shardpack.format.manifest import AppendedSplits, SplitsFile
from shardpack.format.named_files import (
    encode_deleted_file,
    encode_keys,
    encode_positions_file,
    encode_splits_file,
    encode_table,
    length_and_crc32c,
    with_counts,
)
from shardpack.format.shard_info import ShardInfo
from shardpack.format.splits import Splits

MAKERS = {
    "shards": lambda: encode_table([ShardInfo("a.tar", 3, 2048, 1, 1, 1, {"jpg": 3})], generation=7),
    "keys": lambda: encode_keys(hash_keys("abc"), generation=7),
    "splits": lambda: encode_splits_file(Splits.of_runs([("train", 3)]), generation=7),
    "deleted": lambda: encode_deleted_file(np.array([1, 2]), generation=7),
    "layer": lambda: encode_positions_file(np.array([1, 2]), generation=7),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_names_hold_generation_and_checksum(kind):
    file, parts = MAKERS[kind]()
    data = b"".join(parts)
    assert (file.num_bytes, file.crc32c) == (len(data), crc32c(data)) == length_and_crc32c(parts)
    assert file.name == f"{kind}-000007-{crc32c(data):08x}.index"
    assert generation_of(file_path(file)) == 7


def test_counts_of_what_fell_add_up():
    file = SplitsFile("x", 1, 1, {"a": 1, "b": 2}, AppendedSplits(3, {"a": (0, 5)}, {"a": 1}))
    assert with_counts(file, {"a": 2}).totals == {"a": 4, "b": 2}
    assert with_counts(file, {}) is file
    plain = SplitsFile("x", 1, 1, {"a": 1})
    assert with_counts(plain, {"a": 2}) is plain
