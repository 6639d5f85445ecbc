"""Round trips of reading by key and by position, counted as waves of requests that are made at once."""

from __future__ import annotations

import threading

import pytest

import shardpack
from shardpack.dataset import open_dataset
from shardpack.format.paged import SMALL_BYTES
from shardpack.format.shard_table import READ_BYTES
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage.base_store import BaseStore
from tests.read.datasets import packed, repeated

COUNT, PER_SHARD = 20_000, 500
KEYS = [f"k/{i:05d}" for i in range(COUNT)]
WANTED = [(7919 * i) % COUNT for i in range(256)]


class WaveStore(BaseStore):
    """Objects of a dict as a bucket holds them. Each call is a wave: whatever it asks for is fetched at once."""

    remote = True
    checks_reads = True

    def __init__(self, files):
        super().__init__("memory://waves")
        self.files, self.waves = files, []
        self._lock = threading.Lock()

    def get_many(self, wanted):
        with self._lock:
            self.waves.append([(r.path, len(r.starts)) for r in wanted])
        return [
            [self.files[r.path][start : start + length] for start, length in zip(r.starts, r.lengths, strict=True)]
            for r in wanted
        ]

    def get_range(self, path, *, start, length):
        with self._lock:
            self.waves.append([(path, 1)])
        return self.files[path][start : start + length]

    def get(self, path, *, max_bytes=None):  # noqa: ARG002
        return self.get_range(path, start=0, length=len(self.files[path]))

    def size(self, path):
        return len(self.files[path])


@pytest.fixture(scope="module")
def files():
    samples = {key: {"txt": key.encode()} for key in KEYS}
    return packed(samples, max_shard_samples=PER_SHARD)


def waves_of(files, work, **limits):
    """Return the waves of some work on a dataset that has just been opened."""
    store = WaveStore(files)
    ds = open_dataset(store, limits=CacheLimits(**limits))
    store.waves.clear()
    work(ds)
    return store.waves


def by_key(positions):
    return [KEYS[position] for position in positions]


# With room for all indexes, and for one: what is fetched is used before anything else takes its place.
@pytest.mark.parametrize("limits", [{}, {"index_bytes": 1}], ids=["room for all", "room for one"])
def test_many_keys_take_two_round_trips_more_than_positions(files, limits):
    positions = waves_of(files, lambda ds: ds.get_many(WANTED), **limits)

    def read(ds):
        assert [sample["txt"].decode() for sample in ds.get_many(by_key(WANTED))] == by_key(WANTED)

    keys = waves_of(files, read, **limits)
    assert len(positions) == 3, "shard table, indexes, payloads"
    again = 1 if limits else 0  # indexes, which could not be kept
    assert len(keys) == len(positions) + 2 + again, "head and pages of the key index"


@pytest.mark.parametrize("limits", [{}, {"index_bytes": 1}], ids=["room for all", "room for one"])
def test_selecting_by_keys_takes_four_round_trips(files, limits):
    waves = waves_of(files, lambda ds: ds.select(by_key(WANTED)), **limits)
    assert len(waves) == 4, "head and pages of the key index, shard table, indexes"
    assert not any(path.endswith(".tar") for wave in waves for path, _ in wave)


def test_locating_keys_takes_four_round_trips(files):
    waves = waves_of(files, lambda ds: ds.locate(by_key(WANTED)))
    assert len(waves) == 4, "head and pages of the key index, shard table, indexes"


def test_each_page_and_index_is_asked_for_once(files):
    waves = waves_of(files, lambda ds: ds.get_many(by_key(WANTED)))
    asked = [path for wave in waves for path, _ in wave if path.startswith(".shardpack/index/")]
    assert len(asked) == len(set(asked))
    assert sum(count for wave in waves for path, count in wave if "keys-" in path) <= 1 + -(-COUNT // 512)


def test_keys_found_together_are_those_found_alone(files):
    ds = open_dataset(WaveStore(files))
    mixed = [KEYS[5], 7, KEYS[5], -1]
    assert [sample.position for sample in ds.get_many(mixed)] == [5, 7, 5, COUNT - 1]
    with pytest.raises(KeyError, match="no such key: 'nothing'"):
        ds.get_many([KEYS[5], "nothing"])
    with pytest.raises(KeyError, match="no such key"):
        ds.get_many(["\ud800"])
    view = ds.select(by_key([3, 4]))
    assert view.select(by_key([4])).get_many([0])[0].position == 4
    with pytest.raises(KeyError, match="in this view"):
        view.get_many(by_key([3, 5]))


# The first sample after opening, for tables of any length


class ManyShards(WaveStore):
    """A dataset of many shards; `table_bytes` is the length of its shard table."""

    def __init__(self, num_shards):
        super().__init__(repeated(num_shards))
        self.table_bytes = sum(len(data) for path, data in self.files.items() if "/shards-" in path)
        self.num_bytes = 0

    def get_range(self, path, *, start, length):
        data = super().get_range(path, start=start, length=length)
        self.num_bytes += len(data)
        return data

    def waves_of(self, work):
        """Return the waves of opening the dataset and some work on it, and the bytes that they fetched."""
        self.waves, self.num_bytes = [], 0
        work(shardpack.open(self))
        return self.waves, self.num_bytes


@pytest.fixture(scope="module", params=[10, 1000, 2500, 20_000, 100_000])
def many_shards(request):
    return ManyShards(request.param)


@pytest.mark.parametrize("shuffle", ["none", "shards", "blocks", "global"])
def test_the_first_sample_of_a_stream_waits_for_one_read_of_the_table(many_shards, shuffle):
    if many_shards.table_bytes > (READ_BYTES if shuffle in {"shards", "blocks"} else SMALL_BYTES):
        pytest.skip("the table is read in parts")
    many_shards.waves = []
    iterator = iter(shardpack.open(many_shards).stream(shuffle=shuffle))
    next(iterator)
    iterator.close()
    paths = [path for wave in many_shards.waves for path, _ in wave]
    assert paths[0] == ".shardpack/manifest.json"
    assert "/shards-" in paths[1]
    assert not any(path.startswith(".shardpack/shards-") for path in paths[2:])
    assert ".shardpack/index/" in paths[2]


def test_a_sample_takes_at_most_five_round_trips_and_few_bytes(many_shards):
    waves, num_bytes = many_shards.waves_of(lambda ds: ds[len(ds) // 2])
    assert len(waves) <= 5, "manifest, head and page of the table, index, payload"
    assert num_bytes < 400_000


def test_a_table_of_up_to_8_mib_is_read_once(many_shards):
    assert many_shards.table_bytes <= READ_BYTES
    waves, _ = many_shards.waves_of(lambda ds: (ds.shards.columns, ds.shards.columns, ds[1]))
    table = [path for wave in waves for path, _ in wave if "/shards-" in path]
    assert len(table) == 1
