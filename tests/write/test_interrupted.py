"""Ends from outside: killed workers and packers, Ctrl-C, a full disk, a folder that cannot be written."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import shardpack
from shardpack.commit.folder_target import FolderTarget
from shardpack.errors import ShardpackError, StorageError
from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER
from shardpack.runtime.processes import start_workers
from shardpack.write import pack_run as run_module
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.pack_shard import pack_shard
from shardpack.write.request import PackRequest
from shardpack.write.sharding import ShardLimits
from tests.conftest import ROOT
from tests.fakes import contents, file_listing, inline_listing, published, write_files
from tests.runtime.test_processes import alive, sees_processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")

rng = random.Random(2)
SAMPLES = {f"{i:05d}": {"jpg": rng.randbytes(20_000), "json": b"{}"} for i in range(200)}  # 4 MB
OPTIONS = ["--max-shard-bytes", "256KiB", "--layout", "files"]  # 16 shards
FOUND = "images with label files: 200 samples; a sample is jpg + json\n"  # said before the work


one_or_two_jobs = pytest.mark.parametrize("jobs", [pytest.param(1, marks=pytest.mark.slow), 2])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_files(tmp_path_factory.mktemp("source"), SAMPLES)


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "out"
    ended = run(source, out)
    assert (ended.returncode, ended.stdout) == (0, "")
    return contents(out)


def command(source, out, *more):
    return [sys.executable, "-m", "shardpack", "pack", str(source), str(out), *OPTIONS, *more]


def environment(*path):
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, path), str(ROOT)])}


def run(source, out, *more):
    return subprocess.run(command(source, out, *more), env=environment(), check=False, capture_output=True, text=True)


@contextmanager
def started(source, out, *more, after_shards, path=()):
    """Start a packer in a process group of its own; yield it once it has finished some shards."""
    with subprocess.Popen(
        command(source, out, *more),
        env=environment(*path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as packer:
        stop = time.monotonic() + 120
        while len(list(Path(out).glob("*.tar"))) < after_shards and packer.poll() is None and time.monotonic() < stop:
            time.sleep(0.001)
        yield packer


# Each process of the packer imports it, and stops at the first image of the later shards while the file is there.
HOLD = """
import os, re, sys, time

def hold(event, arguments):
    if event == "open" and re.search("001..[.]jpg$", str(arguments[0])):
        while os.path.exists({path!r}):
            time.sleep(0.01)

sys.addaudithook(hold)
"""


def interrupted(source, tmp_path, *more, by):
    """Call `by(packer)` once two shards are finished; each process of the packer is before or within a later one.

    Returns its folder, exit code, and what it printed.
    """
    out, hold, site = tmp_path / "out", tmp_path / "hold", tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOLD.format(path=str(hold)))
    hold.touch()
    with started(source, out, *more, after_shards=2, path=[site]) as packer:
        by(packer)
        hold.unlink()
        stdout, stderr = packer.communicate()
    return out, packer.returncode, stdout, stderr


def children_of(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


WORK_FILES = (".shardpack/tmp", ".shardpack/run.json")


def finished(out):
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in Path(out).glob("*.tar")}


def whole_shards(whole):
    return [name for name in whole if name.endswith(".tar")]


def assert_continues(source, out, whole, jobs):
    """The same command ends the same, and keeps what was finished."""
    before = finished(out)
    if not (out / MANIFEST_PATH).exists() or published(contents(out)) != contents(out):
        ended = run(source, out, "--jobs", str(jobs))
        assert ended.returncode == 0, ended.stderr
    assert contents(out) == whole
    assert finished(out).items() >= before.items()


def test_jobs_change_no_byte_on_the_command_line(source, whole, tmp_path):
    assert run(source, tmp_path / "out", "--jobs", "3").returncode == 0
    assert contents(tmp_path / "out") == whole


@sees_processes
@one_or_two_jobs
def test_a_killed_packer_leaves_no_worker_and_is_continued(source, whole, tmp_path, jobs):
    out = tmp_path / "out"
    with started(source, out, "--jobs", str(jobs), after_shards=3) as packer:
        workers = children_of(packer.pid)
        packer.kill()
        packer.wait()
        stop = time.monotonic() + 60
        while any(map(alive, workers)) and time.monotonic() < stop:
            time.sleep(0.005)
        assert not any(map(alive, workers))
    assert_continues(source, out, whole, jobs)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_times(source, whole, tmp_path, seed):
    """Again and again, with workers or without, until a run gets through."""
    out, when = tmp_path / "out", random.Random(seed)
    for _ in range(5):
        jobs, before = when.choice([1, 2, 3]), finished(out)
        after_shards = min(len(whole_shards(whole)), len(before) + when.randrange(6))
        with started(source, out, "--jobs", str(jobs), after_shards=after_shards) as packer:
            time.sleep(when.random() * 0.03)
            packer.kill()
            packer.communicate()
            ended = packer.returncode
        if (out / MANIFEST_PATH).exists():
            problems = shardpack.verify(out, full=True).problems
            # A kill behind the publication may leave work files, which the same command removes.
            assert not problems or ended != 0
            assert all(problem.shard.startswith(WORK_FILES) for problem in problems), problems
        assert finished(out).items() >= before.items()
        if ended == 0:
            break
    assert_continues(source, out, whole, 2)


@one_or_two_jobs
def test_ctrl_c(source, whole, tmp_path, jobs):
    def press(packer):
        os.killpg(packer.pid, signal.SIGINT)  # as a terminal does: to all processes of the group

    out, code, stdout, stderr = interrupted(source, tmp_path, "--jobs", str(jobs), by=press)
    assert stdout == ""
    interruption = "shardpack: interrupted; what was finished is kept: run the same command to continue"
    assert [line for line in stderr.splitlines() if line] == [FOUND.strip(), interruption]
    assert code == 130
    assert not (out / MANIFEST_PATH).exists()
    assert not list(out.rglob("*.tmp"))
    assert_continues(source, out, whole, jobs)


@sees_processes
def test_a_killed_worker_is_one_clear_error(source, whole, tmp_path):
    def kill_a_worker(packer):
        os.kill(children_of(packer.pid)[0], signal.SIGKILL)

    out, code, _, stderr = interrupted(source, tmp_path, "--jobs", "2", by=kill_a_worker)
    assert code == 1
    assert stderr == FOUND + (
        "shardpack: a worker process was killed by signal 9 (out of memory?); "
        "run the same command again, perhaps with fewer --jobs\n"
    )
    assert not list(out.rglob("*.tmp"))
    assert_continues(source, out, whole, 2)


def pack_but_die(task, report):
    """Stand in for `pack_shard` in a worker: die at one shard, in the midst of writing it."""
    if task.name == "shard-000002.tar":
        task.scratch.new_file(task.name, expected_bytes=1000).write(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return pack_shard(task, report)


def test_a_worker_that_always_dies_never_publishes(tmp_path, monkeypatch):
    plan = plan_shards(inline_listing(SAMPLES), ShardLimits(256 << 10))
    with monkeypatch.context() as patch, start_workers(2) as pool:
        patch.setattr(run_module, "pack_shard", pack_but_die)
        with pytest.raises(ShardpackError, match="killed by signal 9"):
            pack_plan(plan, FolderTarget(str(tmp_path)), PackRequest(), recorded={}, engine=pool)
    assert not (tmp_path / MANIFEST_PATH).exists()
    assert not list(tmp_path.rglob("*.tmp"))
    kept = len(finished(tmp_path))
    assert pack_plan(plan, FolderTarget(str(tmp_path)), PackRequest(), recorded={}).resumed_shards == kept


@contextmanager
def mounted(folder, *options):
    folder.mkdir(exist_ok=True)
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", *options, str(folder)], check=False, capture_output=True).returncode
    ):
        pytest.skip("only root can mount, and not in every container")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs tmpfs")
class TestRealDisks:
    @one_or_two_jobs
    def test_a_full_disk(self, source, whole, tmp_path, jobs):
        with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as disk:
            out = disk / "out"
            ended = run(source, out, "--jobs", str(jobs))
            assert ended.returncode == 1
            assert ended.stdout == ""
            assert ended.stderr.startswith(FOUND + "shardpack: cannot write")
            assert ended.stderr.endswith(
                ": No space left on device; free some space, then run the same command: it continues where it stopped\n"
            )
            assert ended.stderr.count("\n") == 2
            assert not (out / MANIFEST_PATH).exists()
            assert not list(out.rglob("*.tmp"))  # what was half written fills the disk no longer
            assert len(finished(out)) >= 4
            subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
            assert_continues(source, out, whole, jobs)

    def test_a_disk_that_is_full_at_the_last_step(self, source, tmp_path):
        """Whichever file it is that finds no room: nothing that looks whole, and the run is continued."""
        expected = None
        for kilobytes in range(4376, 4480, 16):
            with mounted(tmp_path / f"{kilobytes}", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs") as disk:
                plan = plan_shards(file_listing(source), ShardLimits(256 << 10))
                try:
                    pack_plan(plan, FolderTarget(str(disk / "out")), PackRequest(), recorded={})
                except StorageError as error:
                    assert "No space left on device; free some space" in str(error)  # noqa: PT017 - or none is raised
                    assert not (disk / "out" / MANIFEST_PATH).exists()
                    before = finished(disk / "out")
                    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
                    assert pack_plan(
                        plan, FolderTarget(str(disk / "out")), PackRequest(), recorded={}
                    ).resumed_shards == len(before)
                expected = expected or contents(disk / "out")
                assert contents(disk / "out") == expected

    def test_a_read_only_disk(self, source, tmp_path):
        (tmp_path / "real").mkdir()
        with mounted(tmp_path / "seen", "--bind", str(tmp_path / "real")) as disk:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
            ended = run(source, disk / "out")
            assert ended.returncode == 1
            assert ended.stderr == FOUND + (
                f"shardpack: cannot write to {str(disk / 'out')!r}: Read-only file system; choose another folder\n"
            )


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(source, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="Permission denied; choose another folder, or change its permissions"):
        pack_plan(
            plan_shards(file_listing(source), ShardLimits()),
            FolderTarget(str(tmp_path / "out")),
            PackRequest(),
            recorded={},
        )


@pytest.mark.parametrize("call", ["mkdir", "open", "posix_fallocate", "write", "fsync", "replace", "unlink", "rmdir"])
@pytest.mark.parametrize("after", [0, 4, 9])
def test_whatever_the_disk_refuses_is_one_clear_error(tmp_path, monkeypatch, call, after):
    """And the same call continues once the disk is well."""
    plan = plan_shards(inline_listing(SAMPLES), ShardLimits(512 << 10))
    pack_plan(plan, FolderTarget(str(tmp_path / "whole")), PackRequest(), recorded={})
    if not hasattr(os, call):
        pytest.skip(f"no {call} here")
    out, real, calls = tmp_path / "out", getattr(os, call), iter(range(after))

    def refuse(*arguments, **options):
        if next(calls, None) is None:
            raise OSError(5, "Input/output error")
        return real(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        try:
            pack_plan(plan, FolderTarget(str(out)), PackRequest(), recorded={})
        except StorageError as error:
            assert "Input/output error; repair it, then run the same" in str(error)  # noqa: PT017 - or none
        refused = next(calls, None) is None
    assert refused or call in {"mkdir", "rmdir", "posix_fallocate"}
    if (out / ".shardpack/run.json").exists() or not (out / MANIFEST_PATH).exists():
        pack_plan(plan, FolderTarget(str(out)), PackRequest(), recorded={})
    if (out / WORK_FOLDER).exists():  # all was done but its removal
        assert call == "rmdir"
        (out / WORK_FOLDER).rmdir()
    assert contents(out) == contents(tmp_path / "whole")
