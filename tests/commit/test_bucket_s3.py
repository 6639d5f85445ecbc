"""Packing into a real bucket over a real connection: kill -9, faults on the way, request logs, secrets."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

import shardpack
from shardpack.errors import StorageError
from shardpack.format.layout import MANIFEST_PATH
from shardpack.runtime import child as workers
from shardpack.storage.open import open_store
from tests.conftest import ROOT
from tests.fakes import file_contents as contents
from tests.fakes import published, write_files
from tests.servers.faults import Fault

pytest.importorskip("obstore")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

rng = random.Random(5)
SAMPLES = {f"a/{i:02d}": {"jpg": rng.randbytes(3000), "json": b'{"label": %d}' % i} for i in range(6)}
OPTIONS = {"max_shard_samples": 2, "layout": "files"}
PATIENT = {"max_seconds": 600, "read_timeout_seconds": 120}  # a busy machine is no fault of the server


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", SAMPLES)


@pytest.fixture
def whole(source, tmp_path):
    shardpack.pack(source, tmp_path / "whole", jobs=1, **OPTIONS)
    return contents(tmp_path / "whole")


class Bucket:
    """A bucket behind a proxy, for the code under test; and past both, what is in it."""

    def __init__(self, server, proxy):
        self.name, self.proxy = server.new_bucket(), proxy
        self.options, self._direct = {**server.options(proxy.url), **PATIENT}, server.options()

    def url(self, folder="train"):
        return f"s3://{self.name}/{folder}"

    def contents(self, folder="train"):
        store = open_store(self.url(folder), self._direct)
        return {name: bytes(store.get(name)) for name in store.names()}

    def uploads(self):
        """The tars that were uploaded, or parts of them."""
        paths = [request.path.partition("?")[0] for request in self.proxy.requests if request.method == "PUT"]
        return {path.rpartition("/")[2] for path in paths if path.endswith(".tar")}

    def pack(self, source, folder="train", **options):
        given = {"jobs": 1, **OPTIONS, **options}
        return shardpack.pack(source, self.url(folder), storage_options=self.options, **given)


@pytest.fixture
def bucket(s3_server, proxy):
    return Bucket(s3_server, proxy(s3_server.url))


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_bytes_are_those_of_a_folder(source, whole, bucket, jobs):
    assert bucket.pack(source, jobs=jobs).out == bucket.url()
    assert bucket.contents() == whole
    with shardpack.ShardWriter(bucket.url("w"), max_shard_samples=2, storage_options=bucket.options) as writer:
        for key, fields in SAMPLES.items():
            writer.write(key, fields)
    assert bucket.contents("w")["shard-000001.tar"] == whole["shard-000001.tar"]
    assert shardpack.verify(bucket.url("w"), full=True, storage_options=bucket.options).ok


def test_a_shard_costs_six_requests(source, bucket):
    """Whose turn it is; journal, index, tar; the lengths of two of them."""
    bucket.pack(source, "once")
    first = len(bucket.proxy.requests)
    bucket.proxy.clear()
    bucket.pack(source, "twice", max_shard_samples=1)
    # Three shards more; and a journal entry is deleted in the end.
    assert len(bucket.proxy.requests) - first == 3 * (6 + 1)


def test_large_shards_go_up_in_parts(tmp_path, bucket):
    source = write_files(tmp_path / "large", {str(i): {"jpg": rng.randbytes(9 << 20)} for i in range(3)})
    shardpack.pack(source, tmp_path / "whole", layout="files", jobs=1)
    shardpack.pack(source, bucket.url(), layout="files", jobs=1, storage_options=bucket.options)
    assert bucket.contents() == contents(tmp_path / "whole")
    parts = [r for r in bucket.proxy.requests if "partNumber=" in r.path]
    assert len(parts) == 2
    assert not [r for r in bucket.proxy.requests if r.method == "GET" and r.path.endswith(".tar")]  # the ETag told


# Killed


class Zygote:
    def __init__(self, process):
        self._process = process

    def run(self, request):
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def zygote():
    command = [sys.executable, "-W", "error", str(ROOT / "tests/write/zygote.py")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield Zygote(process)
        process.stdin.close()


def killed(bucket, zygote, source, work, every):
    """Yield a folder of the bucket and the packer's request, for each change at which the packer was killed."""
    for step in itertools.count(1, every):
        folder = f"killed-{step}"
        options = {**OPTIONS, "storage_options": bucket.options, "work_dir": str(work)}
        request = {"action": "pack", "source": str(source), "out": bucket.url(folder), "options": options}
        if not zygote.run({**request, "kill_at_change": step})["killed"]:
            assert step > 30  # the steps were seen
            return
        bucket.proxy.settle()
        bucket.proxy.clear()
        yield folder, request


@pytest.mark.parametrize(
    "every",
    [pytest.param(5, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
def test_a_kill_at_any_put_is_healed_by_the_same_command(source, bucket, zygote, tmp_path, every):
    shardpack.pack(source, tmp_path / "whole", jobs=1, **OPTIONS)
    whole, work, seen = contents(tmp_path / "whole"), tmp_path / "work", set()
    for folder, request in killed(bucket, zygote, source, work, every):
        before = bucket.contents(folder)
        finished = {name for name in before if f".shardpack/tmp/{name}.done.json" in before}
        complete, marked = MANIFEST_PATH in before, ".shardpack/run.json" in before
        if complete:
            assert published(before) == whole
        ended = zygote.run(request)
        if complete and not marked:
            assert "already holds a dataset" in ended["error"]
        else:
            assert not ended["killed"]
            assert ended["resumed"] == (3 if complete else len(finished))
        assert not finished.intersection(bucket.uploads())  # never uploaded again
        assert bucket.contents(folder) == whole
        seen.add(len(finished))
        assert complete or not os.listdir(work)  # what the killed one left is gone too
    if every == 1:
        assert seen == {0, 1, 2, 3}


def test_a_kill_amid_an_upload_leaves_no_shard(source, whole, bucket, tmp_path):
    stall = Fault("stall", times=None, when=lambda r: r.path.endswith("/shard-000001.tar"), method="PUT")
    bucket.proxy.faults.append(stall)
    script = "import sys, json, shardpack; shardpack.pack(sys.argv[1], sys.argv[2], **json.loads(sys.argv[3]))"
    options = {**OPTIONS, "jobs": 2, "storage_options": bucket.options, "work_dir": str(tmp_path / "work")}
    command = [sys.executable, "-c", script, str(source), bucket.url(), json.dumps(options)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as packer:
        until = time.monotonic() + 300
        while time.monotonic() < until and not any(r.fault for r in bucket.proxy.requests):
            time.sleep(0.01)
        packer.send_signal(signal.SIGKILL)
    assert any(request.fault for request in bucket.proxy.requests)
    bucket.proxy.settle()
    before = bucket.contents()
    assert MANIFEST_PATH not in before
    assert "shard-000001.tar" not in before
    bucket.proxy.clear()
    finished = {name for name in before if f".shardpack/tmp/{name}.done.json" in before}
    assert bucket.pack(source, jobs=2, work_dir=tmp_path / "work").resumed_shards == len(finished)
    assert bucket.uploads() == {f"shard-00000{i}.tar" for i in range(3)} - finished
    assert bucket.contents() == whole
    assert not os.listdir(tmp_path / "work")


# Faults


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503, "retry_after": 0},
        {"kind": "status", "status": 500},
        {"kind": "reset"},
        {"kind": "reset", "served": True},
        {"kind": "truncate"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
@pytest.mark.parametrize("method", ["PUT", "HEAD", "GET", "POST"])
def test_faults_are_healed(source, whole, bucket, fault, method):
    bucket.proxy.faults.append(Fault(**fault, method=method, times=2, skip=1))
    bucket.pack(source)
    assert bucket.contents() == whole


def test_a_bucket_that_always_refuses_is_one_clear_error(source, whole, bucket):
    fault = Fault("status", times=None, status=403, method="PUT", match="/shard-000001.tar")
    bucket.proxy.faults.append(fault)
    with pytest.raises(
        StorageError, match=r"cannot write 's3://bucket-\d+/train/.*shard-000001\.tar.*': access denied"
    ):
        bucket.pack(source)
    bucket.proxy.clear()
    assert bucket.pack(source).resumed_shards >= 1
    assert "shard-000000.tar" not in bucket.uploads()
    assert bucket.contents() == whole


# Secrets


def test_tasks_never_hold_credentials(source, bucket, monkeypatch):
    sent = []
    real = workers.write_frame
    monkeypatch.setattr(workers, "write_frame", lambda pipe, content: (sent.append(content), real(pipe, content)))
    secret = "v3ry-s3cret-k3y"
    bucket.options |= {"access_key_id": secret, "secret_access_key": secret}
    report = bucket.pack(source, jobs=2)
    tasks = [content for content in sent if b"_inherit" not in content]  # what a child inherits, only its pipe carries
    assert tasks
    assert not any(secret.encode() in content for content in tasks)
    assert secret not in repr(report)
    assert not any(secret.encode() in data for data in bucket.contents().values())


def test_credentials_do_not_show_in_errors(source, s3_server):
    options = {**s3_server.options("http://127.0.0.1:1"), "secret_access_key": "v3ry-s3cret-k3y", "max_seconds": 0.1}
    with pytest.raises(StorageError) as caught:
        shardpack.pack(source, "s3://bucket/x", storage_options=options, **OPTIONS)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "every",
    [pytest.param(7, marks=pytest.mark.subset), pytest.param(1, marks=pytest.mark.every_step)],
    ids=["some", "all"],
)
@pytest.mark.parametrize("publishes", [False, True])
def test_a_part_that_is_killed_at_any_put_is_started_again(source, whole, bucket, zygote, every, *, publishes):
    for step in itertools.count(1, every):
        folder = f"killed-{step}"
        options = {**OPTIONS, "storage_options": bucket.options}
        request = {"action": "pack", "source": str(source), "out": bucket.url(folder)}
        one, two = ({**request, "options": {**options, "part": part}} for part in ("1/2", "2/2"))
        if publishes:
            assert zygote.run(two).get("error") is None
        ended = zygote.run({**one, "kill_at_change": step})
        if not ended["killed"]:
            assert "error" not in ended
            assert step > 15
            return
        bucket.proxy.settle()
        for part in [one] if publishes else [two, one]:
            assert zygote.run(part).get("error") is None
        assert bucket.contents(folder) == whole, step
