"""Shards that are made and delivered by another machine: a process here, which gets nothing but pickles."""

from __future__ import annotations

import os
import pickle
import shutil

import pytest

import shardpack
from shardpack.commit.open_target import target_of
from shardpack.commit.transaction import Transaction
from shardpack.errors import OptionError, SourceError
from shardpack.format import layout
from shardpack.runtime.processes import WorkerPool
from shardpack.storage.open import open_store
from shardpack.write.make_there import NO_SCRATCH, MakeThere
from shardpack.write.pack_run import plan_shards
from shardpack.write.pack_shard import pack_shard
from shardpack.write.sharding import ShardLimits
from tests.fakes import contents, file_contents, file_listing, write_files

SAMPLES = {f"a/{i:02d}": {"jpg": bytes([i]) * (100 + 300 * i), "json": b'{"label": %d}' % i} for i in range(7)}
OPTIONS = {"max_shard_samples": 2, "layout": "files"}


class OtherMachine:
    """A remote engine of one worker process."""

    remote = True

    def __init__(self, pool):
        self._pool, self.jobs, self.sent = pool, 1, []

    def map(self, function, tasks, *, backpressure=None, advance=None, in_order=False):
        assert backpressure is None
        tasks = list(tasks)
        self.sent += [pickle.dumps((function, task)) for task in tasks]
        return self._pool.map(function, tasks, advance=advance, in_order=in_order)

    def on_every_node(self, function, task):
        self.sent.append(pickle.dumps((function, task)))
        return [("10.0.0.7", result) for _, result in self._pool.map(function, [task])]


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """Return the URL of a bucket, whose credentials the environment of new processes has."""
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    given = s3_server.options()
    for name in ("endpoint", "region", "access_key_id", "secret_access_key"):
        monkeypatch.setenv(f"AWS_{name.upper()}", given[name])
    return f"s3://{s3_server.new_bucket()}/train"


@pytest.fixture
def machine():
    with WorkerPool(1) as pool:
        yield OtherMachine(pool)


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", SAMPLES)


@pytest.fixture
def whole(source, tmp_path):
    shardpack.pack(source, tmp_path / "whole", jobs=1, **OPTIONS)
    return contents(tmp_path / "whole")


def test_to_a_folder(machine, source, whole, tmp_path):
    assert shardpack.pack(source, tmp_path / "out", engine=machine, **OPTIONS).resumed_shards == 0
    assert contents(tmp_path / "out") == whole


def shorten(fields):
    return {"jpg": fields["jpg"][:500], "json": {"length": len(fields["jpg"])}}


CHUNKED = {**OPTIONS, "transform": shorten, "transform_version": "1"}


def test_chunks_to_a_folder(machine, source, tmp_path):
    whole = shardpack.pack(source, tmp_path / "whole", jobs=1, **CHUNKED)
    report = shardpack.pack(source, tmp_path / "out", engine=machine, **CHUNKED)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert (report.num_samples, report.num_bytes) == (whole.num_samples, whole.num_bytes)


def test_chunks_to_a_bucket(source, bucket, s3_server, tmp_path):
    pytest.importorskip("obstore")
    shardpack.pack(source, tmp_path / "whole", jobs=1, **CHUNKED)
    with WorkerPool(1) as pool:
        shardpack.pack(source, bucket, engine=OtherMachine(pool), **CHUNKED)
    store = open_store(bucket, s3_server.options())
    assert {name: bytes(store.get(name)) for name in store.names()} == file_contents(tmp_path / "whole")


def test_a_node_with_other_encoders(machine, source, tmp_path, monkeypatch):
    monkeypatch.setattr("shardpack.write.steps.encoder_versions", lambda: {"Pillow": "of another machine"})
    with pytest.raises(SourceError, match=r"node 10.0.0.7 cannot pack: it has other versions of the libraries that"):
        shardpack.pack(source, tmp_path / "out", engine=machine, **CHUNKED)


def test_parts(machine, source, whole, tmp_path):
    assert shardpack.pack(source, tmp_path / "out", engine=machine, part="2/2", **OPTIONS).missing_shards == 2
    assert shardpack.pack(source, tmp_path / "out", engine=machine, part="1/2", **OPTIONS).missing_shards == 0
    assert contents(tmp_path / "out") == whole


def test_compressed_shards_and_images_that_are_checked(machine, tmp_path):
    pytest.importorskip("zstandard")
    with shardpack.ShardWriter(tmp_path / "source") as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, {"json": fields["json"]})
    options = {"compress": {"shards": "zstd:3"}, "max_shard_samples": 2, "check_images": "signature"}
    ds = shardpack.open(tmp_path / "source")
    shardpack.pack(ds, tmp_path / "whole", jobs=1, **options)
    shardpack.pack(ds, tmp_path / "out", engine=machine, **options)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_from_a_bucket_by_workers_of_this_machine(source, s3_server, tmp_path):
    """Which inherit the secrets of the source; a process elsewhere gets none, and says what to do."""
    pytest.importorskip("obstore")
    url, told = f"s3://{s3_server.new_bucket()}/source", s3_server.options()
    shardpack.pack(source, url, jobs=1, storage_options=told, **OPTIONS)
    ds = shardpack.open(url, storage_options=told)
    shardpack.pack(ds, tmp_path / "whole", jobs=1, max_shard_samples=3)
    shardpack.pack(ds, tmp_path / "out", jobs=2, max_shard_samples=3)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_to_a_bucket(source, whole, s3_server, bucket, tmp_path):
    """Credentials come from the environment of the other machine, and are in nothing that is sent."""
    pytest.importorskip("obstore")
    told = {**s3_server.options(), "session_token": "a secret of the caller"}
    with WorkerPool(1) as pool:
        machine = OtherMachine(pool)
        shardpack.pack(source, bucket, engine=machine, storage_options=told, work_dir=tmp_path / "work", **OPTIONS)
    store = open_store(bucket, s3_server.options())
    found = {name: bytes(store.get(name)) for name in store.names()}
    assert found == {name: data for name, data in whole.items() if data is not None}
    assert len(machine.sent) > 4
    assert not [sent for sent in machine.sent if b"a secret" in sent]
    assert file_contents(tmp_path / "work") == {}


def test_a_shard_may_be_made_twice(source, tmp_path):
    out = tmp_path / "out"
    plan = plan_shards(file_listing(source), ShardLimits())
    with Transaction.new_dataset(target_of(open_store(out)), "pack") as transaction:
        make = pickle.loads(pickle.dumps(MakeThere(pack_shard, transaction.destination())))
        task = pickle.loads(pickle.dumps(plan.task(0, NO_SCRATCH)))
        first = make(task, lambda _: None)
        before = (out / first.name).read_bytes()
        assert make(task, lambda _: None) == first
        assert (out / first.name).read_bytes() == before
        assert set(file_contents(out)) == {first.name, first.index_path, f"{layout.WORK_FOLDER}/lease.json"}


def test_a_run_that_failed_is_continued(machine, source, whole, tmp_path, monkeypatch):
    def vanish(*_):
        (source / "a/06.jpg").rename(tmp_path / "vanished.jpg")

    with monkeypatch.context() as patch:
        patch.setattr("shardpack.write.pack_listed.probe_source", vanish)
        with pytest.raises(SourceError, match=r"a/06.jpg'?: No such file"):
            shardpack.pack(source, tmp_path / "out", engine=machine, **OPTIONS)
    (tmp_path / "vanished.jpg").rename(source / "a/06.jpg")
    with WorkerPool(1) as pool:
        shardpack.pack(source, tmp_path / "out", engine=OtherMachine(pool), **OPTIONS)
    assert contents(tmp_path / "out") == whole


class TestProbe:
    """A node that cannot pack is told before the work begins."""

    def test_a_node_without_the_source(self, machine, source, tmp_path, monkeypatch):
        real = machine.on_every_node

        def unmounted(function, task):
            shutil.move(source, tmp_path / "unmounted")
            try:
                return real(function, task)
            finally:
                shutil.move(tmp_path / "unmounted", source)

        monkeypatch.setattr(machine, "on_every_node", unmounted)
        with pytest.raises(SourceError, match=r"node 10.0.0.7 cannot pack: it cannot read the source: .*No such file"):
            shardpack.pack(source, tmp_path / "out", engine=machine, check_images="signature", **OPTIONS)
        assert not (tmp_path / "out").exists()

    def test_a_target_in_memory(self, machine, source):
        with pytest.raises(OptionError, match="what the nodes of the engine write does not arrive in the target"):
            shardpack.pack(source, "memory://make-there", engine=machine, **OPTIONS)

    def test_a_node_that_does_not_see_the_target(self, machine, source, tmp_path, monkeypatch):
        real = machine.on_every_node

        def other_folder(function, task):
            if hasattr(task, "destination"):
                elsewhere = target_of(open_store(tmp_path / "elsewhere")).opener()
                destination = type(task.destination)(elsewhere, task.destination.lease)
                task = type(task)(destination, task.mark)
            return real(function, task)

        monkeypatch.setattr(machine, "on_every_node", other_folder)
        with pytest.raises(
            SourceError, match=r"node 10.0.0.7 cannot pack: it does not see the target; choose a folder"
        ):
            shardpack.pack(source, tmp_path / "out", engine=machine, **OPTIONS)

    def test_a_node_with_another_version(self, machine, source, tmp_path, monkeypatch):
        real = machine.on_every_node

        def older(function, task):
            return real(function, type(task)(task.sample, "0.0.1") if hasattr(task, "sample") else task)

        monkeypatch.setattr(machine, "on_every_node", older)
        with pytest.raises(SourceError, match=r"expected 0.0.1; install the same version on all nodes"):
            shardpack.pack(source, tmp_path / "out", engine=machine, **OPTIONS)


@pytest.mark.parametrize("options", [{"jobs": 2}, {"threads_per_job": 2}])
def test_options_of_engines_that_pack_starts(machine, source, tmp_path, options):
    with pytest.raises(OptionError, match="jobs and threads_per_job are for engines that pack starts; yours has its"):
        shardpack.pack(source, tmp_path / "out", engine=machine, **options)


def test_an_iterable_has_no_engine(machine, tmp_path):
    with pytest.raises(OptionError, match="engine is not for an iterable"):
        shardpack.pack(list(SAMPLES.items()), tmp_path / "out", engine=machine)
    assert os.listdir(tmp_path) == []
