"""Threads, forks, workers, descriptors: one dataset object, many users."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import shardpack
from shardpack.dataset import open_dataset
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage import local as local_module
from shardpack.storage.local import LocalStore
from tests.conftest import ROOT
from tests.read.datasets import as_dicts, descriptors, expected, numbered, shards_open, write

SAMPLES = numbered(120)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("dataset"), SAMPLES, max_shard_samples=4)


@pytest.fixture
def small_limits(monkeypatch):
    """Few shards open at a time, and mapped at once, so that all of it happens often."""
    monkeypatch.setattr(local_module, "max_files", lambda: 3)
    return CacheLimits(index_bytes=3 * 4096 + 4095, maps=2, map_after_reads=2)


def check_at_random(ds, seed, rounds):
    draw = random.Random(seed)
    keys = list(SAMPLES)
    for _ in range(rounds):
        i = draw.randrange(len(keys))
        match draw.randrange(4):
            case 0:
                found, want = [ds[i]], [i]
            case 1:
                found, want = [ds[keys[i]]], [i]
            case 2:
                want = [draw.randrange(len(keys)) for _ in range(9)]
                found = ds.get_many(want)
            case _:
                want = list(range(i, min(i + 9, len(keys))))
                found = list(ds.select(want).stream())
        assert as_dicts(found) == expected(SAMPLES, want)
    return seed


def test_sixteen_threads_at_once(folder, small_limits):
    ds = open_dataset(LocalStore(folder), limits=small_limits)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda seed: check_at_random(ds, seed, 60), range(16))) == list(range(16))
    finally:
        sys.setswitchinterval(interval)
    assert len(shards_open(ds)) <= 3


def test_threads_on_a_fresh_dataset(folder):
    """Many threads open the same shard and the same key index at the same moment."""
    for _ in range(10):
        ds = shardpack.open(folder)
        barrier = threading.Barrier(8)

        def read(ds=ds, barrier=barrier):
            barrier.wait()
            return as_dicts([ds["k/0050"], ds[51]])

        with ThreadPoolExecutor(8) as pool:
            for found in [pool.submit(read) for _ in range(8)]:
                assert found.result() == expected(SAMPLES, [50, 51])


def test_open_shards_and_descriptors_are_bounded(folder, small_limits):
    ds = open_dataset(LocalStore(folder), limits=small_limits)
    kept = []
    for position in range(len(ds)):
        kept.extend([ds[position], ds[position], ds[position]])
        assert len(shards_open(ds)) <= 3
        assert descriptors(folder) <= 3 + 3 + 3, "an index and a map a shard, and the files"
    assert as_dicts(kept[::3]) == expected(SAMPLES)
    for _ in range(3):
        kept.extend(ds[:])
        kept.extend(ds.stream(shuffle="shards"))
        assert descriptors(folder) <= 9
    views = [ds.select(range(start, len(ds), 7)) for start in range(7)]
    for view in views:
        kept.extend(view)
    assert descriptors(folder) <= 9, "views share what is open"
    del ds, view, views, kept
    gc.collect()
    assert descriptors(folder) == 0


def test_thousands_of_shards_fit_few_descriptors(tmp_path):
    """In a process of its own, with 100 descriptors: samples that are kept hold none open, nor do maps."""
    count = 400
    write(tmp_path, {f"{i:04d}": {"txt": b"%d" % i} for i in range(count)}, max_shard_samples=1)
    probe = f"""
import resource, shardpack
from shardpack.dataset import open_dataset
from shardpack.read.shard_cache import CacheLimits
from shardpack.storage import local
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
ds = open_dataset(local.LocalStore({str(tmp_path)!r}), limits=CacheLimits(map_after_reads=1))
kept = [ds[i] for i in range(len(ds))] + list(ds) + ds[:] + [ds[key] for key in ds.keys()]
open_now = [shard for shard in ds.stream_input().cache.by_position.shards if shard is not None]
assert sum(shard.mapped is not None for shard in open_now) == {count}
assert [sample["txt"] for sample in kept] == [b"%d" % i for i in range({count})] * 4
assert [sample.key for sample in kept] == [f"{{i:04d}}" for i in range({count})] * 4
"""
    subprocess.run([sys.executable, "-W", "error", "-c", probe], cwd=ROOT, check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_an_open_dataset_goes_on_after_fork(folder, small_limits):
    ds = open_dataset(LocalStore(folder), limits=small_limits)
    check_at_random(ds, 1, 20)
    children = []
    for seed in range(4):
        child = os.fork()
        if child == 0:
            try:
                check_at_random(ds, seed, 40)
                os._exit(0)
            except BaseException:  # noqa: BLE001 - a child of a test must not go on as the test
                os._exit(1)
        children.append(child)
    check_at_random(ds, 9, 40)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_while_threads_read_does_not_hang(folder):
    ds = shardpack.open(folder)
    stop = threading.Event()

    def read():
        while not stop.is_set():
            ds.get_many([1, 50, 100])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(40):
            child = os.fork()
            if child == 0:
                ds[3], ds["k/0004"], ds.stats()
                os._exit(0)
            until = time.monotonic() + 60
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > until:
                    os.kill(child, 9)
                    os.waitpid(child, 0)
                    pytest.fail("the child hangs in a lock that was held when it was forked")
                time.sleep(0.001)
            assert ended[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


CHILD = """
import multiprocessing, sys
import shardpack

def read(part):
    ds, positions = part
    samples = [ds[i] for i in positions] + ds.get_many(list(positions))
    return [(sample.key, sample.position, dict(sample)) for sample in samples]

if __name__ == "__main__":
    ds = shardpack.open(sys.argv[2])
    ds[0], ds["k/0001"]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        parts = pool.map(read, [(ds, range(0, 60)), (ds.select(range(60, 120)), range(60))])
    assert [key for key, _, _ in parts[0]] == [f"k/{i:04d}" for i in range(60)] * 2
    assert [position for _, position, _ in parts[1]] == list(range(60, 120)) * 2
    print(sum(len(fields["bin"]) for part in parts for _, _, fields in part))
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", sorted(multiprocessing.get_all_start_methods()))
def test_workers_by_every_start_method(folder, tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), method, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) == 2 * sum(len(fields["bin"]) for fields in SAMPLES.values())


def test_a_pickled_dataset_opens_in_another_process(folder, tmp_path):
    (tmp_path / "pickled").write_bytes(pickle.dumps(shardpack.open(folder)))
    probe = f"import pickle; ds = pickle.load(open({str(tmp_path / 'pickled')!r}, 'rb')); print(ds['k/0042'].position)"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "42\n"


def test_a_relative_path_outlives_a_change_of_folder(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder.parent)
    ds = shardpack.open(Path(folder.name))
    monkeypatch.chdir(tmp_path)
    assert as_dicts([ds[3], pickle.loads(pickle.dumps(ds))["k/0009"]]) == expected(SAMPLES, [3, 9])
