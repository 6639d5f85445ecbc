"""Index tars on real servers on loopback, some of them faulty."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import shardpack
from shardpack.commit.journal import entry_name
from shardpack.errors import DatasetNotFoundError, OptionError, StorageError
from tests.conftest import ROOT
from tests.index.test_remote import TARS, labels
from tests.servers.faults import Fault

pytest.importorskip("obstore")
pytest.importorskip("urllib3")


def test_a_bucket_from_indexing_to_streaming(request, tmp_path):
    pytest.importorskip("moto")
    s3_server = request.getfixturevalue("s3_server")
    bucket, options = s3_server.new_bucket(), s3_server.options()
    for name, data in TARS.items():
        s3_server.put(f"/{bucket}/set/{name}", data)
    report = shardpack.index(f"s3://{bucket}/set/train-*.tar", storage_options=options)
    assert (report.out, report.num_samples, report.without_checksums) == (f"s3://{bucket}/set", 80, 4)
    assert report.bytes_fetched < 0.12 * report.num_bytes
    ds = shardpack.open(f"s3://{bucket}/set", storage_options=options)
    assert sorted(labels(ds.stream(shuffle="blocks"))) == list(range(80))
    assert ds["00042"].decode("json") == {"i": 42}
    report = shardpack.index(f"s3://{bucket}/set", out=tmp_path, checksums=True, storage_options=options)
    assert report.without_checksums == 0
    text = (tmp_path / ".shardpack/manifest.json").read_text(encoding="utf-8")
    assert f'"locations": ["s3://{bucket}/set"]' in text
    assert "testing" not in text, "the credentials"
    ds = shardpack.open(tmp_path, storage_options=options)
    assert labels(ds) == list(range(80))
    other = f"s3://{s3_server.new_bucket()}/idx"
    shardpack.index(f"s3://{bucket}/set/train-{{000..002}}.tar", out=other, storage_options=options)
    with pytest.raises(OptionError, match=f"another bucket or host: pass allow_locations=.'s3://{bucket}/set'."):
        shardpack.open(other, storage_options=options)
    allowed = shardpack.open(other, storage_options=options, allow_locations=[f"s3://{bucket}/set"])
    assert labels(allowed) == list(range(60))


def test_a_web_server_with_indexes_elsewhere(tmp_path, nginx_server):
    (tmp_path / "www" / "a b").mkdir(parents=True)
    for name, data in TARS.items():
        (tmp_path / "www" / "a b" / name).write_bytes(data)
    server = nginx_server(tmp_path / "www")
    pattern = f"{server.url}/a%20b/train-{{000..003}}.tar"
    report = shardpack.index(pattern, out=tmp_path / "idx")
    assert report.bytes_fetched < 0.12 * report.num_bytes
    assert labels(shardpack.open(tmp_path / "idx")) == list(range(80))
    assert labels(shardpack.open(pattern, index="memory")) == list(range(80))


INDEX = "import sys, shardpack; shardpack.index(sys.argv[1], out=sys.argv[2], jobs=1)"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no such signal here")
def test_a_killed_run_continues(tmp_path, nginx_server, proxy):
    (tmp_path / "www").mkdir()
    for name, data in TARS.items():
        (tmp_path / "www" / name).write_bytes(data)
    front = proxy(nginx_server(tmp_path / "www").url)
    front.faults.append(
        Fault("stall", match="train-002.tar", method="GET", times=None)
    )  # it cannot finish before it is killed
    pattern, out = f"{front.url}/train-{{000..003}}.tar", tmp_path / "idx"
    command = [sys.executable, "-c", INDEX, pattern, str(out)]
    entries = [out / entry_name(name) for name in TARS]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}) as child:
        while child.poll() is None and not any(entry.exists() for entry in entries):
            time.sleep(0.005)
        child.kill()
    assert child.returncode == -signal.SIGKILL
    done = sum(entry.exists() for entry in entries)
    assert 0 < done < 4
    with pytest.raises(DatasetNotFoundError, match="unfinished; run the same index command again: it continues"):
        shardpack.open(out)
    front.clear()
    assert shardpack.index(pattern, out=out).resumed == done
    fetched = {request.path for request in front.requests if request.method == "GET" and ".tar" in request.path}
    assert len(fetched) == 4 - done, "finished tars are not read again"
    assert labels(shardpack.open(out)) == list(range(80))


def test_faults_on_the_way_are_healed_or_told(tmp_path, nginx_server, proxy):
    (tmp_path / "www").mkdir()
    for name, data in TARS.items():
        (tmp_path / "www" / name).write_bytes(data)
    front = proxy(nginx_server(tmp_path / "www").url)
    pattern = f"{front.url}/train-{{000..003}}.tar"
    options = {"max_attempts": 8, "max_seconds": 600, "read_timeout_seconds": 60}
    front.faults += [Fault("truncate", after_bytes=100, times=3), Fault("reset", times=2), Fault("status", times=2)]
    report = shardpack.index(pattern, out=tmp_path / "idx", storage_options=options)
    assert report.num_samples == 80
    assert not front.faults, "all have struck"
    front.faults.append(Fault("status", times=None, status=500))
    with pytest.raises(StorageError, match=r"after 2 attempts in .* status 500"):
        shardpack.index(pattern, out=tmp_path / "other", storage_options={**options, "max_attempts": 2})
    front.clear()
    assert shardpack.index(pattern, out=tmp_path / "other", storage_options=options).num_samples == 80
