"""Repeated keys are found across shards, in upper and lower case, and others are not reported."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.errors import DuplicateKeyError
from shardpack.write.duplicate_keys import SeenKeys


def test_merged_runs_of_hashes_forget_nothing(tmp_path):
    seen = SeenKeys(lambda name: (tmp_path / name).read_bytes())
    for shard in range(70):
        seen.add([f"{shard}-{i}" for i in range(1 + shard * 7 % 13)], f"shard-{shard:06d}.tar")
    assert len(seen._runs) < 10
    assert sum(map(len, seen._runs)) == len(seen.hashes())
    for shard in range(70):
        with pytest.raises(FileNotFoundError, match=f"shard-{shard:06d}.index"):  # where it looks for the key itself
            seen.add([f"{shard}-0"], "new.tar")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (["a/X", "b", "a/X"], r"key is already in 'shard-000000.tar'"),
        (["a/X", "b", "a/x"], r"key differs in case only from 'a/X', which is already in 'shard-000000.tar'"),
        (["b", "a/x", "A/X"], r"key differs in case only from 'a/x', which is already in 'shard-000001.tar'"),
    ],
)
def test_across_shards(tmp_path, keys, says):
    def write():
        with shardpack.ShardWriter(tmp_path, max_shard_samples=1) as writer:
            for key in keys:
                writer.write(key, {"bin": b""})

    with pytest.raises(DuplicateKeyError, match=says) as caught:
        write()
    assert (caught.value.shard, caught.value.key) == ("shard-000002.tar", keys[2])
    with pytest.raises(shardpack.ShardpackError):
        shardpack.open(tmp_path)


def test_hashes_are_of_the_keys_as_they_are():
    upper, lower = SeenKeys(lambda _: b""), SeenKeys(lambda _: b"")
    upper.add(["A", "b"], "x.tar")
    lower.add(["a", "b"], "x.tar")
    assert upper.hashes()[0] != lower.hashes()[0]
    assert upper.hashes()[1] == lower.hashes()[1]


def test_equal_hashes_of_different_keys_are_no_duplicates(tmp_path, monkeypatch):
    monkeypatch.setattr("shardpack.write.duplicate_keys.hash_keys", lambda keys: np.zeros(len(keys), np.uint64))
    with shardpack.ShardWriter(tmp_path, max_shard_samples=2) as writer:
        for key in "abcdef":
            writer.write(key, {"bin": b""})
        assert writer.num_samples == 6
