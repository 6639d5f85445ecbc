"""A real Ray of two nodes: the bytes of one packer, whatever dies on the way; engine and command line."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager

import pytest

import shardpack
from shardpack.format.layout import MANIFEST_PATH
from shardpack.storage.open import open_store
from tests.conftest import ROOT
from tests.fakes import contents, write_files

pytestmark = pytest.mark.slow

rng = random.Random(4)
SAMPLES = {f"a/{i:02d}": {"jpg": rng.randbytes(3000), "json": b'{"label": %d}' % i} for i in range(12)}
OPTIONS = {"max_shard_samples": 2, "layout": "files"}


class Cluster:
    def __init__(self, process, environment):
        self._process, self.environment = process, environment

    def ask(self, action, **request):
        self._process.stdin.write(json.dumps({"action": action, **request}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read("answer"))

    def _read(self, word):
        for line in self._process.stdout:
            if line.startswith(word):
                return line.removeprefix(word)
        raise ClusterError("the cluster has ended")

    def wait(self):
        self.address = self._read("ready").strip()
        return self


class ClusterError(Exception):
    pass


@contextmanager
def started(environment):
    """Start a cluster; yield it, and end it."""
    command = [sys.executable, str(ROOT / "tests/edges/ray_program.py")]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Cluster(process, environment).wait()
        finally:
            process.stdin.close()
            process.wait(600)


@pytest.fixture(scope="module")
def cluster(s3_server):
    if importlib.util.find_spec("ray") is None:
        reason = "ray is not installed; tools/test --readers brings it"
        if os.environ.get("SHARDPACK_REQUIRE_READERS"):
            pytest.fail(reason + ", and SHARDPACK_REQUIRE_READERS is set", pytrace=False)
        pytest.skip(reason)
    given = s3_server.options()
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as scratch:  # short: it holds sockets
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT) + os.pathsep + os.environ.get("PYTHONPATH", ""),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": scratch,
            "AWS_ALLOW_HTTP": "true",
            **{f"AWS_{name.upper()}": given[name] for name in ("endpoint", "region")},
            **{f"AWS_{name.upper()}": given[name] for name in given if "key" in name},
        }
        environment.pop("RAY_ADDRESS", None)
        with ExitStack() as stack:
            for is_last in (False, False, True):  # Ray gives a node 30 s to start, which is little on a busy machine
                try:
                    running = stack.enter_context(started(environment))
                    break
                except ClusterError:
                    if is_last:
                        raise
            yield running


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("source"), SAMPLES)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    shardpack.pack(source, out, jobs=1, **OPTIONS)
    return contents(out)


def test_tasks_run_on_all_nodes(cluster):
    assert cluster.ask("run", tasks=list(range(30))) == {"jobs": 2, "results": [[i, 2 * i] for i in range(30)]}
    assert cluster.ask("run", tasks=[1, 2, 3], jobs=1)["jobs"] == 1
    assert cluster.ask("nodes") == {"results": [42, 42]}


def test_errors_keep_class_and_context(cluster):
    ended = cluster.ask("run", tasks=[1, "bad", 2])
    assert ended == {"error": "CorruptShardError: bad task (shard='a.tar', offset=7)"}


def test_a_worker_that_always_dies_is_one_clear_error(cluster):
    ended = cluster.ask("run", tasks=[1, "die", 2], retries=1)["error"]
    assert ended.startswith("ShardpackError: a Ray worker was lost, and its task failed again elsewhere: ")
    assert ended.endswith("; run the same command again")


def test_tasks_compute_in_one_thread_unless_told(cluster):
    pytest.importorskip("cv2", reason="needs OpenCV, a judge")
    assert cluster.ask("run", tasks=["variables"])["results"] == [[0, ["1", 1]]]
    assert cluster.ask("run", tasks=["variables"], threads_per_job=1)["results"] == [[0, ["1", 1]]]


def test_to_a_folder(cluster, source, whole, tmp_path):
    assert cluster.ask("pack", source=str(source), out=str(tmp_path / "out"), options=OPTIONS)["resumed"] == 0
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("when", ["before", "midst", "after"])
def test_workers_that_die_are_replaced(cluster, source, whole, tmp_path, when):
    ended = cluster.ask("pack_dying", source=str(source), out=str(tmp_path / "out"), options=OPTIONS, when=when)
    assert ended == {"shards": 6, "died": 2}
    assert contents(tmp_path / "out") == whole


def test_tasks_of_a_node_that_is_lost_run_elsewhere(cluster):
    ended = cluster.ask("lose_a_node", tasks=[0.2] * 16)
    assert ended == {"jobs": 4, "results": [[number, 0.2] for number in range(16)]}


def shorten(fields):
    return {"jpg": fields["jpg"][:500], "json": {"length": len(fields["jpg"])}}


@pytest.mark.parametrize("transforms", [False, True])
def test_payloads_that_change(cluster, source, tmp_path, transforms):
    """A function of the user's script, which no node can import, among them."""
    pytest.importorskip("zstandard")
    options = {**OPTIONS, "compress": {"json": "zstd:3"}}
    transform = {"transform": shorten, "transform_version": "1"} if transforms else {}
    shardpack.pack(source, tmp_path / "whole", jobs=1, **options, **transform)
    request = {"source": str(source), "out": str(tmp_path / "out"), "options": options, "transforms": transforms}
    assert "error" not in cluster.ask("pack", **request)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_to_a_bucket_whose_credentials_the_nodes_have(cluster, source, whole, s3_server):
    bucket = s3_server.new_bucket()
    for folder, options in (("environment", {}), ("told", {"storage_options": s3_server.options()})):
        url = f"s3://{bucket}/{folder}"
        ended = cluster.ask("pack", source=str(source), out=url, options={**OPTIONS, **options})
        assert ended == {"resumed": 0, "missing": 0}
        store = open_store(url, s3_server.options())
        found = {name: bytes(store.get(name)) for name in store.names()}
        assert found == {name: data for name, data in whole.items() if data is not None}


def test_a_part_on_a_cluster(cluster, source, whole, tmp_path):
    out = str(tmp_path / "out")
    assert cluster.ask("pack", source=str(source), out=out, options={**OPTIONS, "part": "1/2"})["missing"] == 3
    shardpack.pack(source, out, part="2/2", jobs=1, **OPTIONS)
    assert contents(tmp_path / "out") == whole


def test_a_run_that_failed_is_continued(cluster, source, whole, tmp_path):
    request = {"source": str(source), "out": str(tmp_path / "out"), "options": OPTIONS}
    ended = cluster.ask("pack_dying", when="after", retries=0, **request)["error"]
    assert "a Ray worker was lost" in ended
    assert not (tmp_path / "out" / MANIFEST_PATH).exists()
    assert "error" not in cluster.ask("pack", **request)
    assert contents(tmp_path / "out") == whole


def test_a_target_in_memory_is_refused(cluster, source):
    ended = cluster.ask("pack", source=str(source), out="memory://nowhere", options=OPTIONS)["error"]
    assert ended.startswith("OptionError: what the nodes of the engine write does not arrive in the target")


def test_from_the_command_line(cluster, source, whole, tmp_path):
    command = [sys.executable, "-m", "shardpack", "pack", str(source), str(tmp_path / "out"), "--layout", "files"]
    command += ["--max-shard-samples", "2", "--engine", "ray"]
    environment = {**cluster.environment, "RAY_ADDRESS": cluster.address}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == whole
