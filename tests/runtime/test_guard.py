"""A function that hangs or ends its process costs its item, which is named; the next items are worked on."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from shardpack.errors import SourceError
from shardpack.runtime.guard import Guard, Lost


def work(setting, item):
    """Run in the child; what it is told decides what happens there."""
    match item:
        case "hang":
            time.sleep(3600)
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
        case "slow":
            time.sleep(0.2)
    return setting, item


@pytest.fixture(scope="module")
def guard():
    with Guard(work, "set", timeout_seconds=3.0) as guard:
        yield guard


def test_an_interrupt_is_no_loss(guard):
    with pytest.raises(KeyboardInterrupt):
        guard.run([1, "interrupt", 2])
    assert guard.run([1]) == [("set", 1)]


def test_every_item_has_its_result(guard):
    assert guard.run([1, "a", None]) == [("set", 1), ("set", "a"), ("set", None)]
    assert guard.run([]) == []


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ("hang", "took longer than 3 s"),
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
    assert guard.run([1, 2, 3]) == [("set", 1), ("set", 2), ("set", 3)]


def fork_and_end(path, item):
    if (pid := os.fork()) == 0:
        time.sleep(3600)
    Path(path).write_text(str(pid))
    if item == "end":
        os._exit(3)
    time.sleep(3600)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks there")
@pytest.mark.parametrize(("item", "reason"), [("end", "ended its process"), ("hang", "took longer")])
def test_a_process_that_an_item_has_forked_is_not_waited_for(item, reason, tmp_path):
    path = tmp_path / "pid"
    ended = []
    thread = threading.Thread(target=lambda: ended.append(run_one(path, item)), daemon=True)
    thread.start()
    thread.join(60)
    os.kill(int(path.read_text()), signal.SIGKILL)
    assert ended, "the guard waited for the forked process"
    assert ended[0].reason.startswith(reason)


def run_one(path, item):
    with Guard(fork_and_end, str(path), timeout_seconds=3.0) as guard:
        return guard.run([item])


def test_the_time_is_that_of_one_item():
    with Guard(work, "set", timeout_seconds=3.0) as guard:
        assert guard.run(["slow"] * 20) == [("set", "slow")] * 20  # 4 s together


def test_an_error_is_raised_and_the_child_goes_on(guard):
    (before,) = guard.run(["pid"])
    with pytest.raises(SourceError, match=r"bad \(key='k'\)"):
        guard.run([1, "raise"])
    time.sleep(3.1)  # the item of that error is over
    assert guard.run(["pid", 1]) == [before, ("set", 1)]


def slow_start(setting):
    time.sleep(3.2)
    STARTED.append(setting)


STARTED = []


def started(_setting, _item):
    return STARTED


def test_what_a_child_prepares_takes_its_time_and_counts_for_no_item():
    with Guard(started, "set", prepare=slow_start, timeout_seconds=3.0) as guard:
        assert guard.run([1]) == [["set"]]


def test_without_a_limit_nothing_is_lost_for_time():
    with Guard(work, "set") as guard:
        assert guard.run(["slow", 1]) == [("set", "slow"), ("set", 1)]
        assert guard.run(["leave"]) == Lost(0, "ended its process, which ended with exit code 3")


def test_what_cannot_be_sent_is_an_error():
    with Guard(work, "set") as guard, pytest.raises(Exception, match=r"pickle|local object"):
        guard.run([lambda: None])
    with Guard(work, lambda: None) as guard, pytest.raises(Exception, match=r"pickle|local object"):
        guard.run([1])


def test_closing_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = threading.active_count()
    guard = Guard(work, "set", timeout_seconds=9)
    (pid,) = guard.run(["pid"])
    guard.close()
    guard.close()
    assert not [*tmp_path.iterdir()]
    assert threading.active_count() == before
    if Path("/proc").is_dir():
        assert not Path(f"/proc/{pid}").exists()


def list_files(folder):
    Path(folder, "seen").write_text("\n".join(path.name for path in Path(folder).iterdir()))


@pytest.mark.skipif(os.name == "nt", reason="open files cannot be deleted there")
def test_the_place_has_no_file_any_more_while_a_child_prepares(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Guard(work, str(tmp_path), prepare=list_files) as guard:
        assert guard.run([1]) == [(str(tmp_path), 1)]
    assert (tmp_path / "seen").read_text() in {"", "seen"}
