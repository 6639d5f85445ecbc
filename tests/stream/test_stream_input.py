"""What streams are made of: datasets and views offer it, nothing else."""

from __future__ import annotations

import random

import pytest

import shardpack
from shardpack.errors import FieldNotFoundError
from shardpack.stream.stream_input import Streamable
from tests.format.builders import judge_module
from tests.read.datasets import CountingStore, numbered, packed, repeated, write

MANY_SHARDS = repeated(4000)  # a table that is too long to be read whole when it is opened


class RemoteStore(CountingStore):
    remote = True


DS = shardpack.open(CountingStore(packed(numbered(20, size=100), max_shard_samples=6)))


def test_datasets_and_views_are_streamable_and_paths_are_not():
    assert isinstance(DS, Streamable)
    assert isinstance(DS.select([3]), Streamable)
    assert not isinstance("out/", Streamable)


@pytest.mark.parametrize(("mode", "reads_all"), [("none", False), ("shards", True), ("blocks", True)])
def test_the_table_is_read_as_far_as_the_order_needs_it(mode, reads_all):
    """Which shards there are matters to those orders alone that move them, or parts of them."""
    store = RemoteStore(MANY_SHARDS)
    (table,) = (name for name in MANY_SHARDS if "/shards-" in name)
    stream = shardpack.open(store).stream(shuffle=mode)
    assert next(iter(stream))["cls"] == b"%d" % (next(iter(stream)).position % 2)
    num_bytes = sum(length for path, _, length in store.calls if path == table)
    assert (num_bytes == len(MANY_SHARDS[table])) == reads_all


def test_an_input_knows_its_samples():
    given = DS.stream_input()
    assert (len(given.view), given.fields, given.wanted_fields, given.prefetch_depth) == (20, ("bin", "json"), None, 0)
    assert given.fingerprint == DS.fingerprint
    assert given.mean_bytes == sum(shard.num_bytes for shard in DS.shards) // 20
    view = DS.select([3, 1]).stream_input(["json"])
    assert (len(view.view), view.fields, view.fields) == (2, ("json",), ("json",))
    with pytest.raises(FieldNotFoundError, match="no field 'jpg'"):
        DS.stream_input(["jpg"])


def test_sizes_of_compressed_shards_are_those_in_memory():
    judge_module("zstandard")
    samples = {f"{i:04d}": {"txt": b"text " * 400} for i in range(3000)}
    plain, framed = (
        shardpack.open(CountingStore(packed(samples, max_shard_samples=1000, **options)))
        for options in ({}, {"compress": {"shards": "zstd:1"}})
    )
    assert plain.stream_input().expansion == 1
    given = framed.stream_input()
    assert given.expansion == sum(shard.num_bytes for shard in plain.shards) / framed.manifest.num_bytes > 10
    assert given.mean_bytes == pytest.approx(plain.stream_input().mean_bytes, rel=0.01)
    for shuffle in ("none", "blocks", "global"):
        keys = [sample.key for sample in framed.stream(shuffle=shuffle, seed=2, block_bytes="8KiB")]
        assert sorted(keys) == list(samples)
        assert (keys == list(samples)) == (shuffle == "none")


def test_which_samples_are_cut_out_of_frames(tmp_path):
    judge_module("zstandard")
    options = {"compress": {"shards": "zstd:1"}}
    samples = {f"{i:04d}": {"txt": b"text " * 40} for i in range(30)}
    folder = write(tmp_path / "tars", samples, **options)
    assert shardpack.open(folder).stream_input().is_cut_from_frames
    assert not shardpack.open(folder, verify=True).stream_input().is_cut_from_frames
    assert not shardpack.open(write(tmp_path / "plain", samples)).stream_input().is_cut_from_frames
    large = {"0": {"txt": b"text " * 40_000}}
    assert not shardpack.open(write(tmp_path / "large", large, **options)).stream_input().is_cut_from_frames
    shardpack.index(folder / "*.tar.zst", out=tmp_path / "out", jobs=1)
    assert not shardpack.open(tmp_path / "out").stream_input().is_cut_from_frames, "samples of others may lie anyhow"


def test_sizes_of_compressed_tars_of_others_are_those_in_memory(tmp_path):
    judge_module("zstandard")
    samples = {f"{i:04d}": {"txt": b"text " * 400} for i in range(3000)}
    write(tmp_path / "tars", samples, max_shard_samples=1000, compress={"shards": "zstd:1"})
    shardpack.index(tmp_path / "tars" / "*.tar.zst", out=tmp_path / "out", jobs=1)
    given, packed_by_us = (
        shardpack.open(tmp_path / "out").stream_input(),
        shardpack.open(tmp_path / "tars").stream_input(),
    )
    assert given.expansion == packed_by_us.expansion > 10


def test_one_shard_alone_does_not_say_how_much_all_hold():
    judge_module("zstandard")
    rng = random.Random(1)
    samples = {f"{i:04d}": {"txt": rng.randbytes(2000) if i < 100 else b"text " * 400} for i in range(400)}
    files = packed(samples, max_shard_samples=100, compress={"shards": "zstd:1"})
    shards = shardpack.open(CountingStore(files)).shards
    assert shards[0].num_bytes > 10 * shards[1].num_bytes
    given = shardpack.open(CountingStore(files)).stream_input()
    assert given.expansion == pytest.approx(4 * (100 * 2560 + 1024) / sum(shard.num_bytes for shard in shards))
