"""Many processes read the same ranges through one small cache and are killed at any moment: the bytes stay right."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest

from shardpack.storage.cache.cached_store import CachedStore
from shardpack.storage.protocols import Ranges
from tests.conftest import ROOT
from tests.storage.cache.test_cached_store import Bucket, entries_in

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")

LIMIT = 4 << 20
LONGEST = 256 << 10
NAMES = [f"shard-{i:06d}.tar" for i in range(6)]
WORKERS = 6


def objects():
    """Return the same bytes in every process; more of them than the cache may hold."""
    return {name: random.Random(i).randbytes(2 << 20) for i, name in enumerate(NAMES)}


def some_ranges(source):
    """Return up to eight ranges; few starts, so that processes meet."""
    lengths = [source.choice((1, 3_000, 65_536, 110_000, LONGEST)) for _ in range(source.randrange(1, 8))]
    starts = [source.randrange(0, 64) * 16_384 + source.choice((0, 1, 512)) for _ in lengths]
    return Ranges(source.choice(NAMES), starts, lengths)


def read_forever(folder, plain, seed):
    source = random.Random(seed)
    while True:
        store = CachedStore(Bucket(plain), folder, LIMIT)
        for _ in range(source.randrange(1, 60)):
            wanted = [some_ranges(source), some_ranges(source)]
            for ranges, found in zip(wanted, store.get_many(wanted), strict=True):
                whole = plain[ranges.path]
                for start, length, data in zip(ranges.starts, ranges.lengths, found, strict=True):
                    assert data == whole[start : start + length], (ranges.path, start, length)


def start_worker(folder, plain, seed):
    child = os.fork()
    if child:
        return child
    try:
        read_forever(folder, plain, seed)
    finally:  # only a kill ends it well
        traceback.print_exc()
        os._exit(1)


def bytes_taken(folder):
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += -(-os.stat(os.path.join(path, name)).st_size // 4096) * 4096
            except FileNotFoundError:
                continue
    return total


@contextmanager
def stopped(workers):
    """Stop all processes meanwhile: what is counted does not change."""
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    for worker in workers:
        assert os.WIFSTOPPED(os.waitpid(worker, os.WUNTRACED)[1]), "a process ended by itself"
    yield
    for worker in workers:
        os.kill(worker, signal.SIGCONT)


def kill_at_random(folder, plain, source, seconds):
    """Return the most bytes that were seen in the folder, and how many processes were killed meanwhile."""
    workers = [start_worker(folder, plain, seed) for seed in range(WORKERS)]
    until, kills, most = time.monotonic() + seconds, 0, 0
    pause = seconds / 50  # as many kills however long: what they leave unfinished takes room for ten minutes
    try:
        while time.monotonic() < until or most <= LIMIT / 2:  # on a busy machine they have not kept much yet
            time.sleep(source.random() * pause)
            with stopped(workers):
                most = max(most, bytes_taken(folder))
            worker = workers.pop(source.randrange(WORKERS))
            os.kill(worker, signal.SIGKILL)
            assert os.waitpid(worker, 0)[1] == signal.SIGKILL, "a process ended by itself"
            kills += 1
            workers.append(start_worker(folder, plain, WORKERS + kills))
        return most, kills
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
            os.waitpid(worker, 0)


def stress(seconds):
    """Run in a process of its own: it forks, and pytest may have threads."""
    plain, source = objects(), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder, "thesis.tex")
        outside.write_text("mine")
        most, kills = kill_at_random(folder, plain, source, seconds)

        assert most <= LIMIT + (WORKERS + 1) * (LONGEST + 4096), most  # the limit and what may be under way
        assert outside.read_text() == "mine"
        store = CachedStore(Bucket(plain), folder, 16 * LIMIT)  # so that looking drives nothing out
        for entry in entries_in(folder):
            start, length = (int(part, 16) for part in entry.name.split("-"))
            assert entry.stat().st_size == length + 4 * -(-length // 65_536), "half an entry"
            assert any(entry.read_bytes()[:length] == data[start : start + length] for data in plain.values())
        for name in NAMES:
            for start in range(0, 64 * 16_384, 16_384):
                assert store.get_range(name, start=start, length=3_000) == plain[name][start : start + 3_000]
        hits = store.stats.snapshot().cache_hits
        assert hits, "nothing was found"
        return f"{kills} kills, at most {most} bytes, {hits} hits at the end"


@pytest.mark.parametrize(
    "seconds", [pytest.param(2, marks=pytest.mark.subset), pytest.param(8, marks=pytest.mark.every_step)]
)
def test_kills_at_any_moment(seconds):
    script = f"from tests.storage.cache.test_stress import stress; print(stress({seconds}))"
    command = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(
        command, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kills" in done.stdout
