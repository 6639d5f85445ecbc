"""A function that hangs or ends its process costs its item, which is named; the next items are worked on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from shardpack.errors import SourceError
from shardpack.runtime.child import thread_variables
from shardpack.runtime.guard import Guard, Lost

LIMIT = 0.1  # seconds by the clock below; also how often a guard looks at it


@dataclass(frozen=True)
class Clock:
    """A clock for several processes, which moves only when it is told: a pause of the machine is no time."""

    path: Path

    def __call__(self):
        return self.path.stat().st_size / 1000

    def advance(self, seconds):
        with self.path.open("ab") as file:
            file.write(bytes(round(seconds * 1000)))


@pytest.fixture(scope="module")
def clock(tmp_path_factory):
    path = tmp_path_factory.mktemp("clock") / "milliseconds"
    path.touch()
    return Clock(path)


def hang(clock):
    clock.advance(2 * LIMIT)
    time.sleep(3600)


def work(clock, item):
    """Run in the child; what it is told decides what happens there."""
    match item:
        case "hang":
            hang(clock)
        case "leave":
            os._exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "raise":
            raise SourceError("bad", key="k")
        case "interrupt":
            raise KeyboardInterrupt
        case "pid":
            return os.getpid()
        case "threads":
            return os.environ["OMP_NUM_THREADS"]
        case "slow":
            clock.advance(0.9 * LIMIT)
    return item


@pytest.fixture(scope="module")
def guard(clock):
    with Guard(work, clock, timeout_seconds=LIMIT, clock=clock) as guard:
        yield guard


def test_an_interrupt_is_no_loss(guard):
    with pytest.raises(KeyboardInterrupt):
        guard.run([1, "interrupt", 2])
    assert guard.run([1]) == [1]


def test_every_item_has_its_result(guard):
    assert guard.run([1, "a", None]) == [1, "a", None]
    assert guard.run([]) == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("hang", "took longer than 0.1 s"),
        ("leave", "ended its process, which ended with exit code 3"),
        pytest.param(
            "die",
            "ended its process, which was killed by signal 9 (out of memory?)",
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no such signal there"),
        ),
    ],
)
def test_an_item_that_has_no_result_is_named_and_the_next_ones_have_theirs(guard, item, reason):
    assert guard.run([1, 2, item, 3]) == Lost(2, reason)
    assert guard.run([1, 2, 3]) == [1, 2, 3]


def fork_and_end(clock, task):
    path, item = task
    if (pid := os.fork()) == 0:
        time.sleep(3600)
    path.write_text(str(pid))
    if item == "end":
        os._exit(3)
    hang(clock)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
@pytest.mark.parametrize(("item", "reason"), [("end", "ended its process"), ("hang", "took longer")])
def test_a_process_that_an_item_has_forked_is_not_waited_for(item, reason, clock, tmp_path):
    path = tmp_path / "pid"
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run_one(clock, (path, item))), daemon=True)
    thread.start()
    thread.join(60)
    os.kill(int(path.read_text()), signal.SIGKILL)
    assert ended, "the guard waited for the forked process"
    assert ended[0].reason.startswith(reason)


def run_one(clock, task):
    with Guard(fork_and_end, clock, timeout_seconds=LIMIT, clock=clock) as guard:
        return guard.run([task])


def test_the_time_is_that_of_one_item(guard):
    assert guard.run(["slow"] * 20) == ["slow"] * 20


def test_an_error_is_raised_and_the_child_goes_on(guard, clock):
    (before,) = guard.run(["pid"])
    with pytest.raises(SourceError, match=r"bad \(key='k'\)"):
        guard.run([1, "raise"])
    clock.advance(2 * LIMIT)  # the item of that error is over
    assert guard.run(["pid", 1]) == [before, 1]


def slow_start(clock):
    clock.advance(2 * LIMIT)
    time.sleep(2 * LIMIT)  # a guard that counts this looks at the clock meanwhile
    STARTED.append(clock)


STARTED = []


def started(_clock, _item):
    return STARTED


def test_what_a_child_prepares_takes_its_time_and_counts_for_no_item(clock):
    with Guard(started, clock, prepare=slow_start, timeout_seconds=LIMIT, clock=clock) as guard:
        assert guard.run([1]) == [[clock]]


def test_without_a_limit_nothing_is_lost_for_time(clock):
    with Guard(work, clock, clock=clock) as guard:
        assert guard.run(["slow", "slow", 1]) == ["slow", "slow", 1]
        assert guard.run(["leave"]) == Lost(0, "ended its process, which ended with exit code 3")


@pytest.mark.parametrize("threads", [None, 3])
def test_it_computes_in_as_many_threads_as_the_worker_that_starts_it(clock, monkeypatch, threads):
    for name, value in thread_variables(threads or 8).items():
        monkeypatch.setenv(name, value)
    if threads is None:  # this process was not started as a worker
        monkeypatch.delenv("SHARDPACK_THREADS_PER_JOB")
    with Guard(work, clock) as guard:
        assert guard.run(["threads"]) == [str(threads or 1)]


def test_what_cannot_be_sent_is_an_error():
    with Guard(work, "set") as guard, pytest.raises(Exception, match=r"pickle|local object"):
        guard.run([lambda: None])
    with Guard(work, lambda: None) as guard, pytest.raises(Exception, match=r"pickle|local object"):
        guard.run([1])


def test_closing_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(threading.enumerate())
    guard = Guard(work, "set", timeout_seconds=600)
    (pid,) = guard.run(["pid"])
    guard.close()
    guard.close()
    assert not [*tmp_path.iterdir()]
    assert set(threading.enumerate()) <= before
    if Path("/proc").is_dir():
        assert not Path(f"/proc/{pid}").exists()


def list_files(folder):
    Path(folder, "seen").write_text("\n".join(path.name for path in Path(folder).iterdir()))


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be deleted there")
def test_the_place_has_no_file_any_more_while_a_child_prepares(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Guard(work, str(tmp_path), prepare=list_files) as guard:
        assert guard.run([1]) == [1]
    assert (tmp_path / "seen").read_text() in {"", "seen"}
