"""Datasets in buckets, over real servers: what reading costs in requests, and what happens when things fail."""

from __future__ import annotations

import itertools
import pickle
import re

import pytest

import shardpack
from shardpack.errors import CorruptShardError, StorageError
from shardpack.order.options import SHUFFLES
from tests.read.datasets import as_dicts, expected, numbered, write
from tests.servers.faults import Fault, Gathering
from tests.sidecars import plain

pytest.importorskip("obstore")
pytest.importorskip("urllib3")

COUNT = 400
SAMPLES = numbered(COUNT, size=40_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("bucket")
    write(root / "data", SAMPLES, max_shard_samples=50)
    return root


@pytest.fixture(params=["s3", "http"])
def remote(request, folder, nginx_server, proxy):
    """Return (function that opens the dataset anew, the proxy before its server)."""
    between = proxy(nginx_server(folder).url)

    def reopen(**options):
        if request.param == "http":
            return shardpack.open(f"{between.url}/data", storage_options=options)
        given = {"endpoint": between.url, "skip_signature": True, "region": "here"}
        return shardpack.open("s3://data", storage_options=given | options)

    return reopen, between


def named(path):
    """The last part of a path, without a checksum."""
    return plain(f".shardpack/{path.rpartition('/')[2]}").removeprefix(".shardpack/")


def asked(between):
    paths = [named(request.path) for request in between.requests]
    assert {request.method for request in between.requests} <= {"GET"}, "no HEAD, no LIST"
    between.clear()
    return paths


def test_what_one_sample_costs(remote):
    reopen, between = remote
    ds = reopen()
    assert asked(between) == ["manifest.json"]
    assert as_dicts([ds[77]]) == expected(SAMPLES, [77])
    assert asked(between) == ["shards.index", "shard-000001.index", "shard-000001.tar"]
    assert as_dicts([ds[88]]) == expected(SAMPLES, [88])
    assert asked(between) == ["shard-000001.tar"]


def test_what_a_key_costs(remote):
    reopen, between = remote
    ds = reopen()
    assert as_dicts([ds["k/0123"]]) == expected(SAMPLES, [123])
    assert asked(between) == [
        "manifest.json", "keys.index", "shards.index", "shard-000002.index", "shard-000002.tar",
    ]  # fmt: skip
    assert ds["k/0124"].position == 124
    assert len(asked(between)) <= 2, "a page of the key index, unless it is here, and the sample"
    assert "nothing" not in ds
    with pytest.raises(KeyError, match="no such key"):
        ds["nothing"]
    assert set(asked(between)) <= {"keys.index"}


def test_many_samples_are_read_at_once(remote):
    reopen, between = remote
    ds = reopen()
    wanted = [(37 * i) % COUNT // 3 * 3 for i in range(256)]
    between.gatherings += [Gathering("/index/", 8), Gathering(".tar", 31)]
    found = ds.get_many(wanted)
    assert as_dicts(found) == expected(SAMPLES, wanted)
    assert [gathering.complete.is_set() for gathering in between.gatherings] == [True, True], "each kind in one go"
    paths = asked(between)
    assert len([path for path in paths if path.endswith(".tar")]) == len(set(wanted))
    assert len([path for path in paths if re.fullmatch(r"shard-\d+\.index", path)]) == 8
    fetched = (
        ds.stats().bytes_fetched
        - sum(info.index_bytes for info in ds.shards)
        - sum(segment.num_bytes for segment in ds.manifest.table_segments)
    )
    assert fetched < 1.1 * sum(len(payload) for i in set(wanted) for payload in SAMPLES[f"k/{i:04d}"].values())


def test_fields_are_read_alone(remote):
    reopen, between = remote
    ds = reopen()
    ds[0]
    between.clear()
    found = ds.get_many(range(0, 50, 5), fields=["json"])
    assert [sample.decode("json")["number"] for sample in found] == list(range(0, 50, 5))
    assert sum(request.bytes_sent for request in between.requests) < 1000


@pytest.mark.parametrize("mode", SHUFFLES)
def test_streams_are_those_of_the_folder(remote, folder, mode):
    reopen, between = remote
    options = {"shuffle": mode, "seed": 3, "block_bytes": 400_000, "window_blocks": 4}
    local, ds = shardpack.open(folder / "data"), reopen()
    whole = as_dicts(list(local.stream(**options)))
    stream = ds.stream(**options)
    assert as_dicts(list(itertools.islice(stream, 150))) == whole[:150]
    copy = pickle.loads(pickle.dumps(ds)).stream(**options)
    copy.load_state_dict(stream.state_dict())
    assert as_dicts(list(copy)) == whole[150:]
    if mode != "global":
        between.clear()
        fresh = reopen()
        assert len(list(fresh.stream(**options))) == COUNT
        stats = fresh.stats()
        overhead = sum(info.index_bytes for info in fresh.shards) + 2000
        assert (stats.bytes_fetched - overhead) < 1.1 * stats.bytes_used
        assert len([path for path in asked(between) if path.endswith(".tar")]) <= 60


def test_streaming_heals_what_passes(remote):
    reopen, between = remote
    ds = reopen(read_timeout_seconds=0.5)
    for kind in ("reset", "truncate", "stall", "status", "short"):
        between.faults.append(Fault(kind, match=".tar", after_bytes=20_000, skip=2, seconds=30.0))
    assert as_dicts(list(ds.stream(block_bytes=800_000))) == expected(SAMPLES)
    assert ds.stats().retries >= 3


def test_corrupt_bytes_are_never_handed_out(remote):
    reopen, between = remote
    ds = reopen()
    between.faults.append(Fault("corrupt", match=".tar", after_bytes=5000, times=None))
    with pytest.raises(CorruptShardError, match="is damaged"):
        ds[7]
    with pytest.raises(CorruptShardError, match="is damaged"):
        list(ds.stream(shuffle="blocks"))


def test_a_network_that_stays_away_is_one_clear_line(remote):
    reopen, between = remote
    ds = reopen(max_attempts=2)
    ds[0]
    asked(between)
    between.faults.append(Fault("reset", match=".tar", times=None))
    with pytest.raises(StorageError, match=r"cannot read bytes \d+ to \d+ of '.*shard-000000.tar' after 2 attempts"):
        ds[1]
    assert asked(between) == ["shard-000000.tar"] * 2
    between.faults.append(Fault("reset", match=".tar", times=None))
    with pytest.raises(StorageError, match="after 2 attempts"):
        list(ds.stream(shuffle="blocks"))


def test_the_first_sample_takes_few_round_trips(remote):
    reopen, between = remote
    next(iter(reopen().stream(shuffle="blocks")))
    assert asked(between) == ["manifest.json", "shards.index", "shard-000000.index", "shard-000000.tar"]
