"""Who may write into a folder: one at a time, and over nothing that a packer did not make."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest

import shardpack
from shardpack.commit import lease as claim_module
from shardpack.commit.folder import Output
from shardpack.commit.lease import claim, refuse_taken
from shardpack.errors import OutputExistsError, StorageError
from shardpack.storage.lock import FolderLock
from shardpack.write.pack_run import pack_plan, plan_shards
from shardpack.write.report import PackOptions
from shardpack.write.shard_writer import ShardWriter
from shardpack.write.sharding import ShardLimits
from tests.conftest import ROOT
from tests.fakes import contents, inline_listing

OLD = {f"old-{i}": {"bin": b"old"} for i in range(6)}
NEW = {f"new-{i}": {"bin": b"new"} for i in range(3)}


def pack(out, samples, **options):
    return pack_plan(
        plan_shards(inline_listing(samples), ShardLimits(1 << 20, 2)), Output(str(out)), PackOptions(**options)
    )


def write(out, samples, **options):
    with ShardWriter(out, max_shard_samples=2, **options) as writer:
        for key, fields in samples.items():
            writer.write(key, fields)


packers = pytest.mark.parametrize("packer", [pack, write])


@pytest.fixture(autouse=True)
def be_quick(monkeypatch):
    monkeypatch.setattr(claim_module, "_SECONDS_TO_WAIT", 0.1)


@packers
def test_a_dataset_is_kept_without_force(tmp_path, packer):
    pack(tmp_path, OLD)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match="already holds a dataset; choose another folder, or pass --force"):
        packer(tmp_path, NEW)
    assert contents(tmp_path) == before


@packers
def test_force_replaces_the_dataset_and_nothing_else(tmp_path, packer):
    pack(tmp_path / "out", OLD)
    packer(tmp_path / "new", NEW)
    others = {"notes.txt": b"1", "shard.tar": b"2", "shard-1.tar": b"3", "x-000000.tar": b"4", "photos/a.jpg": b"5"}
    for name, data in others.items():
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_bytes(data)
    packer(tmp_path / "out", NEW, force=True)
    assert contents(tmp_path / "out") == {**contents(tmp_path / "new"), **others, "photos": None}


@packers
def test_force_is_fine_where_there_is_nothing(tmp_path, packer):
    packer(tmp_path / "out", NEW, force=True)
    assert len(shardpack.open(tmp_path / "out")) == 3


@packers
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["shard-000000.tar", "shard-000007.index", "keys.index", "rejected.jsonl"])
def test_files_of_unknown_origin_are_kept(tmp_path, packer, force, name):
    """Webdataset's writers use such names too."""
    (tmp_path / name).write_bytes(b"somebody's")
    with pytest.raises(OutputExistsError, match=f"no manifest that says whose they are: '{name}'; move them away"):
        packer(tmp_path, NEW, force=force)
    assert contents(tmp_path) == {name: b"somebody's"}


@packers
def test_a_shard_beside_the_dataset_is_kept(tmp_path, packer):
    pack(tmp_path, OLD)
    (tmp_path / "shard-000099.tar").write_bytes(b"somebody's")
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"not in its manifest: 'shard-000099\.tar'; move them away"):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


@packers
def test_indexed_tars_are_kept(tmp_path, packer):
    """Their names may be ours, but they are not."""
    pack(tmp_path, OLD)
    for path in tmp_path.iterdir():
        if path.suffix != ".tar":
            path.unlink()
    shardpack.index(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match='tars that "shardpack index" found there, and packing would delete'):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


@packers
@pytest.mark.parametrize(
    "change", [lambda text: text[:100], lambda text: text.replace(b'"version": 1', b'"version": 99')]
)
def test_what_a_manifest_lists_must_be_known(tmp_path, packer, change):
    pack(tmp_path, OLD)
    path = tmp_path / "shardpack.json"
    path.write_bytes(change(path.read_bytes()))
    before = contents(tmp_path)
    with pytest.raises(OutputExistsError, match=r"but not which files belong to it: .*; delete it, or choose another"):
        packer(tmp_path, NEW, force=True)
    assert contents(tmp_path) == before


def test_a_hostile_manifest_deletes_nothing_else(tmp_path):
    """`force` deletes what a manifest lists only if a packer could have named it so."""
    pack(tmp_path, OLD)
    path = tmp_path / "shardpack.json"
    path.write_bytes(path.read_bytes().replace(b"shard-000001.tar", b"thesis.tar"))
    (tmp_path / "thesis.tar").write_bytes(b"years of work")
    (tmp_path / "shard-000001.tar").unlink()
    (tmp_path / "shard-000001.index").unlink()
    pack(tmp_path, NEW, force=True)
    assert (tmp_path / "thesis.tar").read_bytes() == b"years of work"


def test_a_refusal_can_be_had_early_and_writes_nothing(tmp_path):
    refuse_taken(Output(str(tmp_path / "nowhere")), force=False)
    assert not (tmp_path / "nowhere").exists()
    pack(tmp_path / "out", OLD)
    with pytest.raises(OutputExistsError):
        refuse_taken(Output(str(tmp_path / "out")), force=False)
    refuse_taken(Output(str(tmp_path / "out")), force=True)


@packers
def test_a_refusal_needs_no_write_permission(tmp_path, packer, monkeypatch):
    pack(tmp_path, OLD)

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    for call in ("mkdir", "unlink", "rmdir"):
        monkeypatch.setattr(os, call, refuse)
    with pytest.raises(OutputExistsError):
        packer(tmp_path, NEW)
    with pytest.raises(StorageError, match="Read-only file system; choose another folder"):
        packer(tmp_path, NEW, force=True)
    monkeypatch.undo()
    assert list(shardpack.open(tmp_path).keys()) == list(OLD)


# Unfinished work


def unfinished(out, samples):
    """Leave what a packer leaves that fails after its second shard."""
    calls = []

    def stop(*_):
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack(out, samples, progress=stop)
    assert len(list(out.glob("*.tar"))) == 2


@packers
@pytest.mark.parametrize("force", [False, True])
def test_unfinished_work_needs_no_force(tmp_path, packer, force):
    unfinished(tmp_path / "out", OLD)
    packer(tmp_path / "out", NEW, force=force)
    packer(tmp_path / "new", NEW)
    assert contents(tmp_path / "out") == contents(tmp_path / "new")


def test_the_same_run_continues_also_with_force(tmp_path):
    unfinished(tmp_path, OLD)
    assert pack(tmp_path, OLD, force=True) == 2
    assert pack(tmp_path, OLD, force=True) == 0  # it is complete now, and replaced


@pytest.mark.parametrize("mark", [b"", b"{", b"[]", b'{"mark": "other"}'])
def test_a_work_folder_beside_a_dataset_is_removed(tmp_path, mark):
    pack(tmp_path, OLD)
    before = contents(tmp_path)
    (tmp_path / ".shardpack").mkdir()
    (tmp_path / ".shardpack" / "run.json").write_bytes(mark)
    (tmp_path / ".shardpack" / "shard-000000.tar.json").write_text("{}")
    with pytest.raises(OutputExistsError):
        pack(tmp_path, OLD)
    assert contents(tmp_path) == before


# Two at once


@packers
def test_a_second_packer_is_refused_and_harms_nothing(tmp_path, packer):
    first = ShardWriter(tmp_path)
    first.write("a", {"bin": b"1"})
    for force in (False, True):
        with pytest.raises(OutputExistsError, match=r"another process is packing into .*; wait until it has ended"):
            packer(tmp_path, NEW, force=force)
    first.close()
    assert list(shardpack.open(tmp_path).keys()) == ["a"]


def test_a_packer_waits_for_the_workers_of_a_killed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(claim_module, "_SECONDS_TO_WAIT", 30)
    unfinished(tmp_path, OLD)
    worker = Output(str(tmp_path)).share()
    timer = threading.Timer(0.1, worker.release)
    timer.start()
    assert pack(tmp_path, OLD) == 2
    timer.join()


def test_a_worker_of_a_killed_packer_writes_no_more(tmp_path):
    output = Output(str(tmp_path))
    lock = output.lock()
    assert lock.take()  # the next packer, getting the folder ready
    with pytest.raises(OutputExistsError, match="another process"):
        output.share()
    lock.release()
    output.share().release()


def test_the_claim_goes_with_its_process(tmp_path):
    script = "import sys, time, shardpack; w = shardpack.ShardWriter(sys.argv[1]); w.write('a', {'b': b'1'})"
    script += "; print(flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(OutputExistsError, match="another process"):
            pack(tmp_path, NEW)
        other.kill()
        other.wait()
    pack(tmp_path, NEW)
    assert list(shardpack.open(tmp_path).keys()) == list(NEW)


def test_a_claim_given_up_late_does_not_sweep_the_next_one(tmp_path):
    first = ShardWriter(tmp_path)
    claimed = first._claim
    release, claimed.release = claimed.release, lambda: None
    first.close()
    second = ShardWriter(tmp_path, force=True)
    second.write("b", {"bin": b"2"})
    release()
    second.close()
    assert list(shardpack.open(tmp_path).keys()) == ["b"]


@pytest.mark.parametrize("removals", [1, 3])
def test_a_work_folder_that_vanishes_is_made_again(tmp_path, monkeypatch, removals):
    """Its owner removes it when it is done, perhaps while we wait for the lock."""
    output = Output(str(tmp_path))
    real, left = FolderLock.take, [None] * removals

    def take(lock, **options):
        if left:
            left.pop()
            output.remove_work_folder()
        return real(lock, **options)

    monkeypatch.setattr(FolderLock, "take", take)
    with claim(output, force=False):
        assert output.has_work_folder()


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
    assert not list(tmp_path.glob(".*"))
    assert len(list(tmp_path.iterdir())) == 2 * 15 + 2
    assert json.loads((tmp_path / "shardpack.json").read_text())["num_samples"] == 300
