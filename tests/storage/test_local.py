"""A folder as a store: descriptors that stay few, reads cut short, other processes."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from shardpack.errors import CorruptShardError, ShardNotFoundError, StorageError
from shardpack.storage.file_map import TAKES_DESCRIPTOR
from shardpack.storage.local import LocalStore
from tests.conftest import ROOT
from tests.storage.contract import DATA, StoreContract, WritableContract

OPEN_FILES = Path("/proc/self/fd")
counts_descriptors = pytest.mark.skipif(not OPEN_FILES.exists(), reason="the system does not list descriptors")


def num_open(folder):
    """Return how many descriptors are this folder or below it: those of other tests come and go."""
    gc.collect()
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing itself
            count += os.readlink(f"/proc/self/fd/{name}").startswith(os.path.realpath(folder))
    return count


class TestLocalStore(StoreContract, WritableContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def folders(cls, tmp_path_factory):
        cls.new_folder = staticmethod(lambda: tmp_path_factory.mktemp("store"))

    @classmethod
    def make_store(cls, objects):
        folder = cls.new_folder()
        for name, data in objects.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return LocalStore(folder)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    return LocalStore(tmp_path)


def test_a_truncated_file_is_noticed(store, tmp_path):
    assert store.get_range("a.bin", start=10_000, length=100) == DATA[10_000:10_100]
    os.truncate(tmp_path / "a.bin", 10_050)
    with pytest.raises(CorruptShardError, match=r'up to 10100, it has 10050.*"shardpack verify"'):
        store.get_range("a.bin", start=10_000, length=100)


def test_the_system_refuses_to_open(store, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match=r"cannot open '.*a\.bin': Permission denied"):
        store.size("a.bin")


@counts_descriptors
def test_descriptors_are_bounded_and_closed(tmp_path):
    for number in range(600):
        (tmp_path / f"{number}.bin").write_bytes(b"%04d" % number)
    store = LocalStore(tmp_path, max_open_files=100)
    for number in [*range(600), *range(599, -1, -1)]:
        assert store.get_range(f"{number}.bin", start=0, length=4) == b"%04d" % number
    assert 50 < num_open(tmp_path) <= 100
    store.close()
    assert num_open(tmp_path) == 0
    assert store.get_range("5.bin", start=0, length=4) == b"0005"  # opened again
    del store
    assert num_open(tmp_path) == 0


@counts_descriptors
def test_a_failed_read_leaves_nothing_open(store, tmp_path):
    for _ in range(10):
        with pytest.raises(ShardNotFoundError):
            store.get_range("b.bin", start=0, length=1)
        with pytest.raises(CorruptShardError):
            store.get_range("a.bin", start=0, length=10**6)
    assert num_open(tmp_path) <= 1


@counts_descriptors
def test_maps_outlive_the_store(tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    store = LocalStore(tmp_path)
    assert store.get("a.bin") == DATA, "a small file is read: a map would hold a descriptor"
    mapped = store.map("a.bin")
    del store
    assert mapped[5:10] == DATA[5:10]
    assert num_open(tmp_path) <= TAKES_DESCRIPTOR


def test_who_has_no_descriptor_left_lets_go_of_those_it_keeps(tmp_path):
    resource = pytest.importorskip("resource")
    for number in range(40):
        (tmp_path / f"{number}.bin").write_bytes(b"%04d" % number)
    store = LocalStore(tmp_path, max_open_files=1000)
    for number in range(20):
        store.size(f"{number}.bin")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with open(os.devnull, "rb") as last:
        resource.setrlimit(resource.RLIMIT_NOFILE, (last.fileno() + 1, hard))
        try:
            for number in range(40):
                assert store.get_range(f"{number}.bin", start=0, length=4) == b"%04d" % number
                assert store.get(f"{number}.bin") == b"%04d" % number
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_was_replaced_is_read_as_it_was_opened(store, tmp_path):
    """Shards never change; a reader keeps the one that it checked."""
    store.size("a.bin")
    (tmp_path / "b.bin").write_bytes(b"new")
    os.replace(tmp_path / "b.bin", tmp_path / "a.bin")
    assert store.get_range("a.bin", start=0, length=5) == DATA[:5]


def test_a_relative_folder_survives_a_change_of_folder(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.bin").write_bytes(b"abc")
    monkeypatch.chdir(tmp_path)
    store = LocalStore("data")
    monkeypatch.chdir("/")
    assert store.get_range("a.bin", start=0, length=3) == b"abc"
    assert pickle.loads(pickle.dumps(store)).get_range("a.bin", start=0, length=3) == b"abc"
    assert store.location == pickle.loads(pickle.dumps(store)).location == "data"


PROCESSES = """
import multiprocessing, pickle, sys
from shardpack.storage.local import LocalStore

def read(store, number, answers):
    answers.put((number, store.get_range("a.bin", start=number * 100, length=100)))

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    store = LocalStore(sys.argv[2])
    data = store.get_range("a.bin", start=0, length=store.size("a.bin"))  # open before the others start
    answers = context.Queue()
    others = [context.Process(target=read, args=(store, number, answers)) for number in range(3)]
    for other in others: other.start()
    for _ in others:
        number, found = answers.get()
        assert found == data[number * 100 : number * 100 + 100]
        assert store.get_range("a.bin", start=7, length=9) == data[7:16]
    for other in others: other.join()
    print("fine")
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_other_processes(tmp_path, method):
    (tmp_path / "a.bin").write_bytes(DATA)
    script = tmp_path / "script.py"
    script.write_text(PROCESSES)
    command = [sys.executable, "-W", "error", str(script), method, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("fine\n", "")
