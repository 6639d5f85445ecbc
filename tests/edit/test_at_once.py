"""Editors at once, in a folder and in a bucket, and readers that go on meanwhile."""

from __future__ import annotations

import pickle
import random
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import shardpack
from shardpack.edit.base import open_base
from shardpack.errors import DuplicateKeyError, OutputExistsError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER, manifest_path
from shardpack.format.next_generation import next_generation
from shardpack.storage.open import open_store
from tests.commit.stores import WatchedStore

KEYS = [f"{number:02d}" for number in range(24)]


class Place:
    """A dataset, and what reaching it takes."""

    def __init__(self, location, options=None):
        self.location, self.options = location, {"storage_options": options} if options else {}
        with shardpack.ShardWriter(location, max_shard_samples=6, **self.options) as writer:
            for key in KEYS:
                writer.write(key, {"bin": key.encode() * 50})

    def open(self, **options):
        return shardpack.open(self.location, **self.options, **options)

    def delete(self, *keys):
        return shardpack.delete(self.location, keys, **self.options)

    def names(self):
        return open_store(self.location, self.options.get("storage_options")).names()


@pytest.fixture
def bucket(s3_server):
    pytest.importorskip("obstore")
    return Place(f"s3://{s3_server.new_bucket()}/ds", s3_server.options())


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    return Place(tmp_path / "ds") if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.mark.parametrize("editors", [2, 8])
def test_all_edits_happen_one_after_the_other(place, editors):
    """Who is refused runs the same command again."""
    start, refusals = threading.Barrier(editors), []

    def edit(key):
        start.wait(timeout=300)
        give_up = time.monotonic() + 300
        while time.monotonic() < give_up:
            try:
                return place.delete(key).generation
            except OutputExistsError as error:
                refusals.append(str(error))
                time.sleep(0.01)
        raise AssertionError

    with ThreadPoolExecutor(editors) as threads:
        made = list(threads.map(edit, KEYS[:editors]))
    assert sorted(made) == list(range(2, 2 + editors))
    for refusal in refusals:
        assert "another process is writing to" in refusal or "another edit made generation" in refusal
    with place.open() as ds:
        assert list(ds.keys()) == KEYS[editors:]
    assert [entry.num_samples for entry in shardpack.log(place.location, **place.options)] == [
        len(KEYS) - count for count in range(editors, -1, -1)
    ]
    assert not [name for name in place.names() if name.startswith(WORK_FOLDER)]
    assert shardpack.verify(place.location, full=True, **place.options).ok, "who was refused leaves nothing behind"


@pytest.mark.parametrize("editors", [2, 8])
def test_of_editors_that_commit_at_once_one_wins(bucket, editors):
    bases = [open_base(bucket.location, **bucket.options) for _ in range(editors)]
    begun = [base.begin("delete", run_digest=str(number)) for number, base in enumerate(bases)]
    start = threading.Barrier(editors)

    def commit(number):
        base, transaction = bases[number], begun[number]
        manifest, files = next_generation(base.manifest, base.text, deleted=np.array([number]), base_chain=base.chain())
        transaction.put(f"{transaction.folder}/finished", [b"1"])
        start.wait(timeout=300)
        with transaction:
            try:
                transaction.commit(manifest, files)
            except OutputExistsError as error:
                return str(error)
        return number

    with ThreadPoolExecutor(editors) as threads:
        ended = list(threads.map(commit, range(editors)))
    (winner,) = [one for one in ended if isinstance(one, int)]
    refusals = [one for one in ended if isinstance(one, str)]
    assert all("another edit made generation 2" in one and "run the same delete" in one for one in refusals)
    with bucket.open() as ds:
        assert list(ds.keys()) == [key for key in KEYS if key != KEYS[winner]]
    kept = {name for name in bucket.names() if name.endswith("/finished")}
    assert kept == {f"{begun[number].folder}/finished" for number in range(editors) if number != winner}
    loser = (winner + 1) % editors
    with open_base(bucket.location, **bucket.options).begin("delete", run_digest=str(loser)) as again:
        assert again.target.read(f"{again.folder}/finished") == b"1"
        assert again.tag == begun[loser].tag


def test_readers_of_an_earlier_generation_go_on(place):
    before = place.open()
    stream = before.stream(shuffle="blocks", seed=3, batch_size=None)
    epoch = iter(stream)
    seen = [next(epoch).key for _ in range(5)]
    state, copied = stream.state_dict(), pickle.dumps(before)
    place.delete("03", "10", "17")
    seen += [sample.key for sample in epoch]
    assert sorted(seen) == KEYS, "an epoch that is under way is not cut"
    assert before["10"]["bin"] == b"10" * 50
    assert len(before) == len(KEYS)
    again = pickle.loads(copied)  # as a worker process gets it
    assert (again.manifest.generation, len(again)) == (1, len(KEYS))
    assert again["10"]["bin"] == b"10" * 50
    resumed = again.stream(shuffle="blocks", seed=3, batch_size=None)
    resumed.load_state_dict(state)
    assert [sample.key for sample in resumed] == seen[5:]
    with place.open() as after:
        assert (after.manifest.generation, len(after)) == (2, len(KEYS) - 3)
        assert "10" not in after
    with place.open(generation=1) as earlier:
        assert earlier[10]["bin"] == b"10" * 50
    before.close()
    again.close()


def test_caches_ask_for_the_manifest_each_time(bucket, s3_server):
    bucket.delete("00")
    _, _, path = bucket.location.partition("://")
    with urllib.request.urlopen(f"{s3_server.url}/{path}/{MANIFEST_PATH}") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"


def test_the_requests_of_a_delete_do_not_grow_with_the_dataset(s3_server, proxy):
    pytest.importorskip("obstore")
    counts = []
    for samples in (6, 24):
        door = proxy(s3_server.url)
        location = f"s3://{s3_server.new_bucket()}/ds"
        with shardpack.ShardWriter(location, max_shard_samples=2, storage_options=s3_server.options()) as writer:
            for key in KEYS[:samples]:
                writer.write(key, {"bin": key.encode()})
        shardpack.delete(location, ["02"], storage_options=s3_server.options(door.url))
        requests = [(request.method, request.path.partition("?")[0]) for request in door.requests]
        assert not [path for _, path in requests if path.endswith(".tar")]
        counts.append(len(requests))
    assert counts[0] == counts[1] <= 26


# --- The same edit twice at once, in a bucket --------------------------------------------------


class Gate:
    """Stops all changes of one editor before the given one, counted from 1, until it is opened."""

    def __init__(self, store, step):
        self._count, self._step, self._lock = 0, step, threading.Lock()
        self.reached, self.open = threading.Event(), threading.Event()
        store.before = self._before

    def _before(self, *_):
        with self._lock:
            self._count += 1
            waits = self._count >= self._step
        if waits:
            self.reached.set()
            assert self.open.wait(300)


def ends_of_two(store, steps, edit):
    """Let one editor run up to a change, then the other; then the first one to its end, then the other."""
    doors = [WatchedStore(), WatchedStore()]
    for door in doors:
        door._objects, door._creating, door.log = store._objects, store._creating, store.log
    gates = [Gate(door, step) for door, step in zip(doors, steps, strict=True)]

    def run(number):
        try:
            return edit(doors[number])
        except Exception as error:  # noqa: BLE001 - any may be wrong
            return error
        finally:
            gates[number].reached.set()

    with ThreadPoolExecutor(2) as threads:
        running = []
        for number, gate in enumerate(gates):
            running.append(threads.submit(run, number))
            assert gate.reached.wait(300)
        ends = []
        for gate, one in zip(gates, running, strict=True):
            gate.open.set()
            ends.append(one.result(timeout=300))
    return ends


@pytest.mark.parametrize("command", ["append", "relabel"])
def test_of_equal_edits_at_once_one_goes_on_and_nothing_is_harmed(tmp_path, command):
    """Wherever the two are: what is committed is whole, is not deleted again, and was done once."""
    new = {"n/0": {"txt": b"0"}, "n/1": {"txt": b"1"}, "n/2": {"txt": b"2"}}
    with shardpack.ShardWriter(tmp_path / "more", max_shard_samples=2) as writer:
        for key, fields in new.items():
            writer.write(key, fields)

    def edit(store):
        if command == "append":
            return shardpack.append(tmp_path / "more", store, jobs=1)
        return shardpack.relabel(store, {"k": {"n": 1}})

    expected = {"k": {"txt": b"k"}, **new} if command == "append" else {"k": {"txt": b"k", "json": b'{"n":1}'}}
    draw, committed = random.Random(7), 0
    for _ in range(30):
        store = WatchedStore()
        with shardpack.ShardWriter(store) as writer:
            writer.write("k", {"txt": b"k"})
        began = len(store.log)
        ends = ends_of_two(store, (draw.randint(1, 30), draw.randint(1, 30)), edit)
        for error in (end for end in ends if isinstance(end, Exception)):
            assert isinstance(error, (OutputExistsError, DuplicateKeyError)), repr(error)
        changes = store.log[began:]
        commits = [number for number, (_, name) in enumerate(changes) if name == manifest_path(2)]
        if commits:
            committed += 1
            gone = {name for what, name in changes[commits[0] :] if what == "delete"}
            assert not {name for name in gone if name.endswith((".tar", ".index")) and WORK_FOLDER not in name}
        else:  # each took the other's last request for a third one: then the next run does it
            edit(store)
        with shardpack.open(store) as ds:
            assert {sample.key: dict(sample) for sample in ds} == expected
        problems = shardpack.verify(store, full=True).problems
        assert {problem.kind for problem in problems} <= {"unfinished"}, "what a last request left"
    assert committed > 20
