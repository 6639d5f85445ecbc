"""An export that was killed goes on, and leaves the same files as one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import shardpack
from shardpack.errors import OutputExistsError
from shardpack.export.staging import STAGING_NAME
from tests.conftest import ROOT
from tests.export.datasets import CLASSES, classified, dataset, files

# Kills itself, and nothing else, as soon as so many samples are done.
PROGRAM = """
import os, signal, sys
import shardpack

def progress(phase, done, total):
    if phase == "export" and done >= int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)

ds = shardpack.open(sys.argv[1])
shardpack.export(ds, sys.argv[2], to=sys.argv[3], jobs=int(sys.argv[5]), progress=progress, **eval(sys.argv[6]))
"""
FORMATS = {"webdataset": {"max_file_samples": 5}, "folder": {}, "lmdb": {}}


@pytest.fixture(scope="module")
def ds(tmp_path_factory):
    return dataset(tmp_path_factory.mktemp("kill") / "ds", classified(60), classes=CLASSES, per_shard=13)


def killed(ds, out, to, after, jobs):
    arguments = [ds.location, out, to, after, jobs, FORMATS[to]]
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL


def finish(ds, out, to):
    """Run the same export again; workers of the killed one may need a moment to end."""
    for _ in range(300):
        try:
            return shardpack.export(ds, out, to=to, jobs=1, **FORMATS[to])
        except OutputExistsError:
            time.sleep(0.1)
    return pytest.fail("the workers of the killed run have not ended")


@pytest.mark.parametrize(("to", "jobs"), [("webdataset", 1), ("webdataset", 2), ("folder", 1), ("lmdb", 1)])
def test_the_same_call_finishes_what_was_killed(ds, tmp_path, to, jobs):
    shardpack.export(ds, tmp_path / "whole", to=to, jobs=1, **FORMATS[to])
    for after in (20, 60):  # in the middle, and behind the last sample
        killed(ds, tmp_path / "out", to, after, jobs)
        assert [path.name for path in (tmp_path / "out").iterdir()] == [STAGING_NAME]
    report = finish(ds, tmp_path / "out", to)
    assert report.num_samples == 60
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_parts_that_are_made_are_not_made_again(ds, tmp_path):
    killed(ds, tmp_path / "out", "webdataset", 20, 1)
    report = finish(ds, tmp_path / "out", "webdataset")
    assert (report.num_parts, report.resumed_parts) == (12, 3)
