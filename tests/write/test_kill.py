"""`kill -9` at every step a packer takes: nothing half done looks whole, and the same command ends the same.

Each step is a call that changes the disk (see `zygote.py`).
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from shardpack.format.layout import MANIFEST_PATH, WORK_FOLDER
from tests.conftest import ROOT
from tests.fakes import contents, published, write_files
from tests.sidecars import plain

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SAMPLES = {f"a/{i:02d}": {"jpg": bytes([i]) * (100 + 300 * i), "json": b'{"label": %d}' % i} for i in range(5)}
PACK = {"action": "pack", "options": {"max_shard_samples": 2, "layout": "files"}}
WRITE = {"action": "write", "options": {"max_shard_samples": 2}}
CHUNKED = {"action": "pack", "options": {**PACK["options"], "compress": {"json": "zstd:3"}}}
SHUFFLED = {"action": "pack", "options": {"max_shard_samples": 2, "layout": "files", "shuffle_seed": 3}}


class Zygote:
    def __init__(self, process):
        self._process = process

    def run(self, what, source, out, *, kill_at=0, force=False):
        """Pack, and return how it ended; with `kill_at` it is killed before that step."""
        options = {**what["options"], **({"force": True} if force else {})}
        request = {**what, "options": options, "source": str(source), "out": str(out), "kill_at": kill_at}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@pytest.fixture(scope="module")
def zygote():
    command = [sys.executable, "-W", "error", str(ROOT / "tests/write/zygote.py")]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Zygote(process)
        process.stdin.close()


@pytest.fixture
def source(tmp_path):
    return write_files(tmp_path / "source", SAMPLES)


def finished(out):
    """Return what tells a shard from one written again, for those that have their name."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.glob("*.tar")}


def is_complete(out):
    return (out / MANIFEST_PATH).exists()


SOME, ALL = pytest.mark.subset, pytest.mark.every_step
NEEDS_ZSTD = pytest.mark.skipif(not find_spec("zstandard"), reason="zstandard is not installed")


@pytest.fixture(params=[pytest.param(3, marks=SOME), pytest.param(1, marks=ALL)], ids=["some", "all"])
def every(request):
    """Return the number of steps between two kills, for tests that need not try every step."""
    return request.param


# A test of every step takes seconds: but for the first test here, the fast suite tries some.
def kills(tmp_path, zygote, what, source, *, every=1, prepare=lambda _: None, **options):
    """Yield a folder for each step at which the packer was killed, until it takes no more steps."""
    for step in itertools.count(1, every):
        out = tmp_path / f"killed-{step}"
        prepare(out)
        ended = zygote.run(what, source, out, kill_at=step, **options)
        if not ended["killed"]:
            assert "error" not in ended
            assert step > 50  # the steps were seen
            return
        yield out


def reference(tmp_path, zygote, what, source, name="whole"):
    assert zygote.run(what, source, tmp_path / name) in ({"killed": False, "resumed": n} for n in (0, None))
    whole = contents(tmp_path / name)
    assert MANIFEST_PATH in whole
    assert not [file for file in whole if file.startswith(WORK_FOLDER) or file.endswith(".tmp")]
    return whole


@pytest.mark.parametrize(
    ("what", "every"),
    [
        pytest.param(PACK, 1, id="pack"),
        pytest.param(WRITE, 3, marks=SOME, id="writer-some"),
        pytest.param(WRITE, 1, marks=ALL, id="writer-all"),
        pytest.param(SHUFFLED, 5, marks=pytest.mark.slow, id="shuffled"),
        pytest.param(CHUNKED, 3, marks=[SOME, NEEDS_ZSTD], id="chunked-some"),
        pytest.param(CHUNKED, 1, marks=[ALL, NEEDS_ZSTD], id="chunked-all"),
    ],
)
def test_the_same_command_ends_the_same(tmp_path, source, zygote, what, every):
    whole = reference(tmp_path, zygote, what, source)
    at_the_end = 0
    for out in kills(tmp_path, zygote, what, source, every=every):
        before = finished(out) if out.exists() else {}
        complete = is_complete(out)
        if complete:
            assert published(contents(out)) == whole
            at_the_end += 1
        ended = zygote.run(what, source, out)
        if complete and what is WRITE:  # nothing tells that the samples will be the same
            assert "already holds a dataset" in ended["error"]
        else:
            assert ended == {"killed": False, "resumed": None if what is WRITE else len(before)}
        assert contents(out) == whole
        if what is not WRITE or complete:
            assert finished(out).items() >= before.items()  # never packed again
    assert at_the_end > 3 or every > 1, "cleaning up takes some steps"


def test_a_second_kill_changes_nothing(tmp_path, source, zygote, every):
    whole = reference(tmp_path, zygote, PACK, source)
    for number, out in enumerate(kills(tmp_path, zygote, PACK, source, every=every)):
        if not is_complete(out):
            before = finished(out) if out.exists() else {}
            assert zygote.run(PACK, source, out, kill_at=1 + number * 5 % 13)["killed"]
            assert finished(out).items() >= before.items()
            assert zygote.run(PACK, source, out).get("error") is None
            assert contents(out) == whole


def change(source):
    """Change one label without changing its length or its neighbours'."""
    path = source / "a/02.json"
    status = path.stat()
    path.write_bytes(b'{"label": 9}')
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


def test_a_source_that_changed_is_noticed(tmp_path, source, zygote, every):
    kept = list(kills(tmp_path, zygote, PACK, source, every=every))
    old = reference(tmp_path, zygote, PACK, source, "old")
    change(source)
    new = reference(tmp_path, zygote, PACK, source, "new")
    changed = {plain(name) for name in new if new[name] != old.get(name, b"")}
    assert changed == {
        "shard-000001.tar",
        ".shardpack/index/shard-000001.index",
        "shards.index",
        ".shardpack/manifest.json",
        ".shardpack/manifests/000001.json",
    }
    for out in kept:
        before = finished(out) if out.exists() else {}
        complete = is_complete(out)
        ended = zygote.run(PACK, source, out)
        if complete:  # it was: that is another dataset now, and not ours to replace
            assert "already holds a dataset" in ended["error"]
            assert contents(out) == old
            assert zygote.run(PACK, source, out, force=True).get("error") is None
        else:
            untouched = {name: stamp for name, stamp in before.items() if name not in changed}
            assert ended == {"killed": False, "resumed": len(untouched)}
            assert finished(out).items() >= untouched.items()
        assert contents(out) == new


def test_a_kill_amid_packing_a_changed_source(tmp_path, source, zygote, every):
    """A journal entry of the new source must never count for a tar of the old one, which has the same length."""
    *_, last = (out for out in kills(tmp_path, zygote, PACK, source, every=every) if not is_complete(out))
    step = int(last.name.rpartition("-")[2])  # all shards are finished there, the manifest is not

    def restore():
        for path in write_files(source, SAMPLES).rglob("*.*"):
            os.utime(path, ns=(0, 0))

    def prepare(out):
        restore()
        assert zygote.run(PACK, source, out, kill_at=step)["killed"]
        assert len(finished(out)) == 3
        change(source)

    restore()
    old = reference(tmp_path, zygote, PACK, source, "old")
    change(source)
    new = reference(tmp_path, zygote, PACK, source, "new")
    assert new["shard-000001.tar"] != old["shard-000001.tar"]
    assert len(new["shard-000001.tar"]) == len(old["shard-000001.tar"])
    again = tmp_path / "again"
    again.mkdir()
    for out in kills(again, zygote, PACK, source, every=every, prepare=prepare):
        if is_complete(out):
            assert published(contents(out)) == new
        else:
            assert zygote.run(PACK, source, out).get("error") is None
            assert contents(out) == new


def test_other_options_leave_no_shard_of_the_old(tmp_path, source, zygote, every):
    """Each kill is followed by a run with other options."""
    options = [
        {"max_shard_samples": 3},
        {"max_shard_samples": 1},
        {"max_shard_bytes": 6000},
        {"max_shard_samples": 2, "shuffle_seed": 1},
    ]
    others = [{"action": "pack", "options": {"layout": "files", **more}} for more in options]
    wholes = [reference(tmp_path, zygote, other, source, f"whole-{i}") for i, other in enumerate(others)]
    for number, out in enumerate(kills(tmp_path, zygote, PACK, source, every=every)):
        if not is_complete(out):
            assert zygote.run(others[number % 4], source, out).get("error") is None
            assert contents(out) == wholes[number % 4]


@pytest.mark.parametrize("what", [PACK, WRITE], ids=["pack", "writer"])
def test_replacing_is_safe_too(tmp_path, source, zygote, what, every):
    """With `force` the old dataset is complete, the new one is complete, or neither exists."""
    older = write_files(tmp_path / "older", {f"b/{i}": {"png": bytes(50 * i)} for i in range(1, 8)})
    old, new = reference(tmp_path, zygote, PACK, older, "old"), reference(tmp_path, zygote, what, source, "new")

    def prepare(out):
        shutil.copytree(tmp_path / "old", out)
        (out / "notes.txt").write_text("not ours")

    seen = set()
    for out in kills(tmp_path, zygote, what, source, every=every, prepare=prepare, force=True):
        if is_complete(out):
            found = published(contents(out))
            assert found.pop("notes.txt") == b"not ours"
            seen.add("old" if found == old else "new")
            assert found in (old, new)
        assert zygote.run(what, source, out, force=True).get("error") is None
        assert contents(out) == {**new, "notes.txt": b"not ours"}
    assert seen == {"old", "new"}


def test_another_source_takes_over_what_was_killed(tmp_path, source, zygote, every):
    """Same names, sizes and times, other bytes and another place: nothing of the first may stay."""
    other = write_files(
        tmp_path / "other", {key: {**fields, "json": b'{"label": 7}'} for key, fields in SAMPLES.items()}
    )
    for path in [*source.rglob("*.*"), *other.rglob("*.*")]:
        os.utime(path, ns=(5, 5))
    new = reference(tmp_path, zygote, PACK, other)
    for out in kills(tmp_path, zygote, PACK, source, every=every):
        if not is_complete(out):
            assert zygote.run(PACK, other, out).get("error") is None
            assert contents(out) == new
