"""One process at a time writes to a place, also after kills, forks and races."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

import shardpack
from shardpack.commit.bucket_target import BucketTarget
from shardpack.commit.folder_target import FolderTarget
from shardpack.commit.lease import LEASE_NAME, acquire, refuse_other_work, unfinished_command
from shardpack.commit.transaction import Transaction
from shardpack.errors import OutputExistsError
from shardpack.format.assemble import encode_dataset
from shardpack.format.key_index import hash_keys
from shardpack.storage.lock import FolderLock
from shardpack.storage.memory import MemoryStore
from shardpack.write.sample_shape import shape_of
from shardpack.write.shard_assembler import Buffer
from shardpack.write.shard_in_progress import ShardInProgress
from shardpack.write.shard_writer import ShardWriter
from tests.conftest import ROOT
from tests.fakes import contents
from tests.forks import in_child

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
BUSY = r"another process is writing to .*; wait until it has ended"


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    """A function that makes targets of one place."""
    if request.param == "folder":
        return lambda: FolderTarget(str(tmp_path / "out"), seconds_to_wait=0.1)
    store = MemoryStore({})
    return lambda: BucketTarget(store, str(tmp_path))


def test_a_lease_names_the_command_and_nothing_else(place):
    lease = acquire(place(), "copy")
    found = json.loads(place().read(LEASE_NAME))
    assert set(found) == {"command", "owner"}
    assert unfinished_command(place()) == found["command"] == "copy"
    lease.release()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"command": 5}', b"\xff"])
def test_a_lease_that_is_nonsense_names_no_command(place, text):
    target = place()
    target.lock()
    target.put(LEASE_NAME, [text])
    assert unfinished_command(target) is None


def test_who_began_last_goes_on_where_there_are_no_locks():
    store = MemoryStore({})
    first = acquire(BucketTarget(store), "pack")
    first.check()
    second = acquire(BucketTarget(store), "pack")
    second.check()
    with pytest.raises(OutputExistsError, match=BUSY):
        first.check()


def test_a_lease_that_is_gone_is_not_ours(place):
    target = place()
    lease = acquire(target, "pack")
    target.refresh()
    target.delete([LEASE_NAME])
    with pytest.raises(OutputExistsError, match=BUSY):
        lease.check()
    lease.release()


@pytest.mark.parametrize(("before", "then"), [("index", "pack"), ("index", "copy"), ("pack", "index")])
def test_a_command_goes_on_with_its_own_work_only(place, before, then):
    """The tars of `index` are the user's; the other commands delete tars that are in the way."""
    acquire(place(), before).release()
    with pytest.raises(OutputExistsError, match=f"unfinished; run the same {before} command again"):
        acquire(place(), then)
    refuse_other_work(place(), before)
    acquire(place(), before).release()


def test_pack_and_copy_take_over_from_each_other(place):
    acquire(place(), "pack").release()
    acquire(place(), "copy").release()


# Folders


def test_a_second_process_is_refused(tmp_path):
    first = acquire(FolderTarget(str(tmp_path)), "pack")
    with pytest.raises(OutputExistsError, match=BUSY):
        acquire(FolderTarget(str(tmp_path), seconds_to_wait=0.05), "pack")
    first.check()
    first.release()
    acquire(FolderTarget(str(tmp_path), seconds_to_wait=0.05), "pack").release()


def test_a_second_packer_is_refused_and_harms_nothing(tmp_path):
    first = ShardWriter(tmp_path)
    first.write("a", {"bin": b"1"})
    for force in (False, True):
        with pytest.raises(OutputExistsError, match=BUSY):
            Transaction.new_dataset(FolderTarget(str(tmp_path), seconds_to_wait=0.05), "pack", force=force)
    first.close()
    assert list(shardpack.open(tmp_path).keys()) == ["a"]


def test_the_next_one_waits_for_the_workers_of_a_killed_one(tmp_path):
    acquire(FolderTarget(str(tmp_path)), "pack").release()
    (tmp_path / ".shardpack" / "tmp").mkdir(parents=True, exist_ok=True)
    worker = FolderTarget(str(tmp_path)).scratch.share()
    timer = threading.Timer(0.1, worker.release)
    timer.start()
    acquire(FolderTarget(str(tmp_path), seconds_to_wait=30), "pack").release()
    timer.join()


def test_a_worker_of_a_killed_packer_writes_no_more(tmp_path):
    target = FolderTarget(str(tmp_path))
    lease = acquire(target, "pack")  # the next one, getting the folder ready
    with pytest.raises(OutputExistsError, match="another process has taken over"):
        target.scratch.share()
    lease.share()
    target.scratch.share().release()
    lease.release()


def test_a_lease_goes_with_its_process(tmp_path):
    script = "import sys, time, shardpack; w = shardpack.ShardWriter(sys.argv[1]); w.write('a', {'b': b'1'})"
    script += "; print(flush=True); time.sleep(600)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OutputExistsError, match="another process"):
            acquire(FolderTarget(str(tmp_path), seconds_to_wait=0.05), "pack")
        other.kill()
        other.wait()
    acquire(FolderTarget(str(tmp_path)), "pack").release()


def test_a_lease_released_late_leaves_the_next_one_alone(tmp_path):
    first = acquire(FolderTarget(str(tmp_path)), "pack")
    (tmp_path / ".shardpack" / "tmp" / "lease.json").unlink()
    (tmp_path / ".shardpack" / "tmp").rmdir()  # it has published
    second = FolderTarget(str(tmp_path))
    lease = acquire(second, "pack")
    (tmp_path / ".shardpack" / "tmp" / "shard-000000.tar.1.tmp").write_bytes(b"1")
    first.release()
    assert (tmp_path / ".shardpack" / "tmp" / "shard-000000.tar.1.tmp").exists()
    lease.check()
    lease.release()


@pytest.mark.parametrize("removals", [1, 3])
def test_a_work_folder_that_vanishes_is_made_again(tmp_path, monkeypatch, removals):
    """Its owner removes it when it is done, perhaps while we wait for the lock."""
    real, left = FolderLock.try_acquire, [None] * removals

    def try_acquire(lock, **options):
        if left:
            left.pop()
            (tmp_path / ".shardpack" / "tmp").rmdir()
        return real(lock, **options)

    monkeypatch.setattr(FolderLock, "try_acquire", try_acquire)
    lease = acquire(FolderTarget(str(tmp_path)), "pack")
    assert (tmp_path / ".shardpack" / "tmp" / "lease.json").exists()
    lease.release()


# Folders without locks


@pytest.fixture
def lockless(tmp_path):
    """A function that makes targets of one folder, whose file system has no locks."""

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    return lambda: FolderTarget(str(tmp_path), flock=refuse)


def make_shard(transaction, content):
    """Make a shard of one sample in the work folder, and return what it is."""
    scratch = transaction.scratch
    shard = ShardInProgress("shard-000000.tar", scratch.new_file("shard-000000.tar"), Buffer())
    shape = shape_of(("bin",), key="a")
    shard.add("a", shape, [content], shape.tar_bytes("a", [content]))
    return scratch.finish_shard("shard-000000.tar", shard.file, shard.finish())


@pytest.mark.parametrize("loses_by", ["release", "deliver", "keep_only", "put", "publish"])
@pytest.mark.parametrize("made_first", ["loser", "winner"])
def test_who_loses_touches_nothing_of_the_winner(lockless, tmp_path, loses_by, made_first):
    loser = Transaction.new_dataset(lockless(), "write")
    winner = Transaction.new_dataset(lockless(), "write")
    if made_first == "winner":
        info = make_shard(winner, b"winner")
        lost = make_shard(loser, b"loser, longer")
    else:
        lost = make_shard(loser, b"loser, longer")
        info = make_shard(winner, b"winner")
    with suppress(OutputExistsError):
        if loses_by == "deliver":
            loser.deliver(lost, "")
        elif loses_by == "keep_only":
            winner.deliver(info, "")
            loser.keep_only([])
        elif loses_by == "put":
            loser.put(".shardpack/manifests/000001.json", [b"loser"])
        elif loses_by == "publish":
            loser.publish(encode_dataset([], hash_keys([]), packed_with={})[1])
    loser.release()
    if loses_by != "keep_only":
        winner.deliver(info, "")
    winner.publish(encode_dataset([info], hash_keys(["a"]), packed_with={})[1])
    assert [(sample.key, sample["bin"]) for sample in shardpack.open(tmp_path)] == [("a", b"winner")]
    assert shardpack.verify(tmp_path, full=True).ok
    assert not (tmp_path / ".shardpack" / "tmp").exists()


def test_the_one_that_began_first_publishes_nothing(lockless, tmp_path):
    """The one that began last makes the dataset; the other's `close` is an error."""
    loser, winner = Transaction.new_dataset(lockless(), "write"), Transaction.new_dataset(lockless(), "write")
    winner.publish(encode_dataset([], hash_keys([]), packed_with={})[1])
    with pytest.raises(OutputExistsError, match=BUSY):
        loser.publish(encode_dataset([], hash_keys([]), packed_with={})[1])
    loser.release()
    assert len(shardpack.open(tmp_path)) == 0


# Forks


@needs_fork
def test_a_forked_child_neither_writes_nor_cleans_up(place):
    target = place()
    transaction = Transaction.new_dataset(target, "pack")
    with open(transaction.scratch.join("shard-000000.tar"), "wb") as file:
        file.write(b"1")
    assert in_child(lambda: transaction.put("x", [b"1"])) == "OutputExistsError"
    assert in_child(transaction.release) == "None"
    assert os.path.exists(transaction.scratch.join("shard-000000.tar"))
    transaction.put("x", [b"1"])
    transaction.release()


@needs_fork
def test_a_child_that_lives_on_does_not_hold_the_lock(tmp_path):
    transaction = Transaction.new_dataset(FolderTarget(str(tmp_path)), "pack")
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    transaction.release()
    Transaction.new_dataset(FolderTarget(str(tmp_path), seconds_to_wait=0.5), "pack").release()
    os.close(writer)
    os.waitpid(pid, 0)
    os.close(reader)


# Many at once


@pytest.mark.parametrize("force", [False, True])
def test_many_packers_at_once_make_one_dataset(tmp_path, force):
    """Started together, each with samples of its own: what is there in the end is whole, and one packer's."""
    script = """
import sys, shardpack
out, me, force, start = sys.argv[1], sys.argv[2], sys.argv[3] == "True", float(sys.argv[4])
import time; time.sleep(max(0, start - time.time()))
samples = ((f"{me}-{i}", {"bin": b"x" * 3000}) for i in range(300))
try:
    shardpack.pack(samples, out, max_shard_samples=20, force=force)
    print("packed")
except shardpack.ShardpackError as error:
    print(type(error).__name__)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = str(time.time() + 0.6)
    others = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), me, str(force), start],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for me in "abc"
    ]
    ended = sorted(other.communicate()[0].strip() for other in others)
    assert set(ended) <= {"packed", "OutputExistsError"}
    assert ended.count("packed") >= 1
    assert force or ended.count("packed") == 1
    ds = shardpack.open(tmp_path)
    assert len({sample.key[0] for sample in ds}) == 1
    assert len(ds) == 300
    assert shardpack.verify(tmp_path, full=True).ok
    assert not [name for name in contents(tmp_path) if "tmp" in name or "lease" in name]
