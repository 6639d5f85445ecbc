"""What reading costs, counted: requests by a store that counts, bytes by `ds.stats()`."""

from __future__ import annotations

import numpy as np
import pytest

import shardpack
from shardpack.format.layout import index_path
from shardpack.format.shard_index import parse_index
from shardpack.order.options import SHUFFLES
from shardpack.read.shard_cache import CacheLimits
from tests.format.builders import judge_module
from tests.read.datasets import CountingStore, as_dicts, expected, numbered, packed, write
from tests.sidecars import plain

MANIFEST, KEYS, TABLE = ".shardpack/manifest.json", "keys.index", "shards.index"
SAMPLES = numbered(40, size=2000)


@pytest.fixture(scope="module")
def files():
    return packed(SAMPLES, max_shard_samples=10)


@pytest.fixture
def store(files):
    return CountingStore(files, gap=4096)


def test_opening_costs_the_manifest(store):
    ds = shardpack.open(store)
    assert (len(ds), ds.fields, len(ds.shards), ds.fingerprint) == (40, ("bin", "json"), 4, ds.fingerprint)
    ds.select(range(5))
    assert store.taken() == [MANIFEST]
    ds.stream(shuffle="blocks")
    assert store.taken() == [], "nothing is read before the first sample is asked for"


def test_the_first_sample_costs_one_index_and_one_range(store):
    ds = shardpack.open(store)
    store.taken()
    ds[25]
    assert [plain(path) for path in store.taken()] == [TABLE, ".shardpack/index/shard-000002.index", "shard-000002.tar"]
    ds[26]
    ds[-11]
    assert store.taken() == ["shard-000002.tar"] * 2, "a warm sample costs one range"


def test_a_key_costs_the_key_index_once(store):
    ds = shardpack.open(store)
    store.taken()
    ds["k/0025"]
    assert [plain(path) for path in store.taken()] == [
        KEYS, TABLE, ".shardpack/index/shard-000002.index", "shard-000002.tar",
    ]  # fmt: skip
    ds["k/0026"]
    assert store.taken() == ["shard-000002.tar"]
    assert "k/0027" in ds
    ds.select(["k/0021"])["k/0021"]
    assert store.taken() == ["shard-000002.tar"], "a view shares what its dataset has opened"


def test_an_unknown_key_costs_no_more_than_the_key_index(store):
    ds = shardpack.open(store)
    store.taken()
    assert "nobody" not in ds
    assert [plain(path) for path in store.taken()] == [KEYS]
    assert "nobody else" not in ds
    assert store.taken() == []


def test_keys_and_entries_cost_no_payload(store):
    ds = shardpack.open(store)
    list(ds.keys())
    list(ds.entries())
    assert not [path for path in store.taken() if path.endswith(".tar")]
    assert ds.stats().bytes_used == 0


def test_get_many_merges_neighbours_and_reads_each_shard_once(store):
    ds = shardpack.open(store)
    ds[::10]
    store.taken()
    ds.get_many([3, 1, 2, 3, 1])
    assert store.taken() == ["shard-000000.tar"]
    ds.get_many([9, 0])
    assert store.taken() == ["shard-000000.tar"] * 2, "samples far apart are read by separate requests"
    ds.get_many(range(40))
    assert store.taken() == [f"shard-{number:06d}.tar" for number in range(4)]


def test_a_long_run_is_cut_at_the_longest_request(files):
    store = CountingStore(files, gap=4096, most=9_000)
    ds = shardpack.open(store)
    assert as_dicts(ds.get_many(range(10))) == expected(SAMPLES, range(10))
    lengths = [length for path, _, length in store.calls if path.endswith(".tar")]
    assert len(lengths) == 5
    assert max(lengths) <= 9_000


def test_a_sample_beyond_the_longest_request_is_read_field_by_field(files):
    store = CountingStore(files, gap=4096, most=1_000)
    ds = shardpack.open(store)
    ds[0]
    assert [length for path, _, length in store.calls if path.endswith(".tar")] == [
        len(SAMPLES["k/0000"]["bin"]),
        len(SAMPLES["k/0000"]["json"]),
    ]


def test_fields_read_no_other_byte(files):
    store = CountingStore(files, gap=0)
    ds = shardpack.open(store)
    wanted = {key: {"json": fields["json"]} for key, fields in SAMPLES.items()}
    assert as_dicts(ds.get_many([30, 7, 8], fields=["json"])) == expected(wanted, [30, 7, 8])
    touched = [(path, start, start + length) for path, start, length in store.calls if path.endswith(".tar")]
    for path, start, stop in touched:
        index = parse_index(files[index_path(path)], name=path)
        _, members = index.pick(np.arange(index.num_samples), [index.fields.index("bin")])
        begins = index.data_offset[members].astype(int)
        ends = begins + index.size[members].astype(int)
        assert not ((begins < stop) & (start < ends)).any(), "a byte of another field was read"
    size = sum(len(SAMPLES[f"k/{i:04d}"]["json"]) for i in (30, 7, 8))
    assert ds.stats().bytes_used == sum(stop - start for _, start, stop in touched) == size


def test_fields_of_local_samples_read_no_image(tmp_path):
    """Where images are longer than a gap that is worth reading over (4 KiB)."""
    samples = {f"{i:02d}": {"json": b"%d" % i, "jpg": bytes(5000)} for i in range(20)}
    ds = shardpack.open(write(tmp_path, samples))
    ds.get_many([0], fields=["json"])
    before = ds.stats()
    ds.get_many(range(20), fields=["json"])
    after = ds.stats()
    assert after.bytes_fetched - before.bytes_fetched == after.bytes_used - before.bytes_used == 30
    assert after.requests - before.requests == 20


def test_stats_count_what_is_used_and_what_is_fetched(store):
    ds = shardpack.open(store)
    ds[0]
    before = ds.stats()
    ds.get_many([1, 2])
    after = ds.stats()
    used = sum(len(payload) for i in (1, 2) for payload in SAMPLES[f"k/{i:04d}"].values())
    assert after.requests - before.requests == 1
    assert after.bytes_used - before.bytes_used == used
    assert used < after.bytes_fetched - before.bytes_fetched < used + 4 * 1024
    assert shardpack.open(store).stats() == ds.stats(), "a store counts for all who read it"


def test_streaming_small_samples_costs_a_request_every_few_mib(tmp_path):
    samples = {f"{i:05d}": {"bin": bytes(2500), "json": b"{}"} for i in range(6000)}
    ds = shardpack.open(write(tmp_path, samples, max_shard_bytes="12MiB"), verify=True)  # so nothing is cut from a map
    for _ in ds.stream():
        pass
    before = ds.stats()
    assert sum(1 for _ in ds.stream()) == 6000
    requests = ds.stats().requests - before.requests
    assert requests <= ds.manifest.num_bytes // (2 << 20) + 2 * len(ds.shards)
    assert ds.stats().bytes_used - before.bytes_used == 6000 * 2502


@pytest.mark.parametrize(
    ("mode", "num_bytes"), [("none", 2000), ("blocks", 2000), *((mode, 200_000) for mode in SHUFFLES)]
)
def test_streaming_from_memory_costs_no_request(tmp_path, mode, num_bytes):
    samples = {f"{i:05d}": {"bin": bytes(num_bytes)} for i in range(30)}
    ds = shardpack.open(write(tmp_path, samples))
    assert len(list(ds.stream(shuffle=mode))) == 30
    before = ds.stats()
    assert len(list(ds.stream(shuffle=mode))) == 30
    assert ds.stats() == before, "what was just written is in the page cache, and cut from a map"


def test_a_local_sample_costs_one_read_until_its_shard_is_mapped(tmp_path):
    ds = shardpack.open(write(tmp_path, numbered(10)))
    ds[0]
    for i in range(1, CacheLimits().map_after_reads):
        before = ds.stats().requests
        ds[i % 10]
        assert ds.stats().requests - before == 1
    before = ds.stats()
    ds[3]
    assert ds.stats() == before


def test_compressed_shards_cost_as_many_requests():
    judge_module("zstandard")
    options = {"max_shard_samples": 10, "compress": {"shards": "zstd:3"}, "frame_bytes": 8192}
    store = CountingStore(packed(SAMPLES, **options), gap=4096)
    ds = shardpack.open(store)
    store.taken()
    assert dict(ds[25]) == SAMPLES["k/0025"]
    name = "shard-000002.tar.zst"
    assert [plain(path) for path in store.taken()] == [TABLE, f".shardpack/index/{name}.index", name]
    ds[27]
    assert store.taken() == [name]
    ds[28]
    assert store.taken() == [], "its frame was read with the sample before"
    ds.get_many([21, 22, 23, 24])
    assert store.taken() == [name], "neighbouring frames are one range"
    assert as_dicts(ds.stream(shuffle="none")) == as_dicts(shardpack.open(CountingStore(packed(SAMPLES))))
