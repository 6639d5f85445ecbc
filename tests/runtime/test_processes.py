"""Workers: results and errors come through, nothing is left behind, and it works from wherever it is called."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from shardpack.errors import CorruptShardError, ShardpackError
from shardpack.runtime.child import Child, WorkerTraceback, thread_variables
from shardpack.runtime.engine import IN_PROCESS
from shardpack.runtime.processes import WorkerPool, start_workers
from tests.conftest import ROOT

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")
sees_processes = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not list processes")


LONG = 60  # seconds, which only a defect takes


def double(task):
    return 2 * task


def judged_threads(_):
    """Return the thread pools of this process's libraries, and how many threads OpenCV computes in."""
    import cv2
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((8, 8)) @ np.ones((8, 8))
    return threadpool_info(), cv2.getNumThreads()


def work(task):
    """Run in a worker; what it is told decides what happens there."""
    match task:
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "leave":
            os._exit(3)
        case "print":
            print("stray")  # noqa: T201 - the point
            os.write(1, b"stray")
            subprocess.run([sys.executable, "-c", "print('stray')"], check=True)
        case "damage":
            raise CorruptShardError("damaged", shard="a.tar", key="k", offset=7)
        case "unpicklable error":
            raise UnpicklableError(lambda: None)
        case "unpicklable result":
            return lambda: None
        case "sleep":
            time.sleep(600)
        case "signals":
            return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        case "threads":
            return {name: os.environ[name] for name in thread_variables(1)}
    return task


class UnpicklableError(Exception):
    pass


class OnlyThere:
    """A result that only the process that made it can unpickle."""

    def __reduce__(self):
        return _made_in, (os.getpid(),)


def _made_in(process):
    if process != os.getpid():
        raise LookupError("not from elsewhere")


def only_there(_):
    return OnlyThere()


class UnpicklableTask:
    def __reduce__(self):
        raise pickle.PicklingError("not this one")


@pytest.fixture(scope="module")
def two():
    with WorkerPool(2) as pool:
        yield pool


def alive(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def pids(pool):
    return [child.pid for child in pool._children]


@pytest.mark.parametrize("count", [0, 1, 3, 50])
def test_every_task_has_its_result(two, count):
    assert dict(two.map(double, range(count))) == {i: 2 * i for i in range(count)}


def test_tasks_are_drawn_as_needed_and_in_the_callers_thread(two):
    drawn, threads = [], set()

    def tasks():
        for i in range(30):
            drawn.append(i)
            threads.add(threading.get_ident())
            yield i

    most = 0
    for done, _ in enumerate(two.map(double, tasks()), start=1):
        most = max(most, len(drawn) - done)
    assert len(drawn) == 30
    assert most <= 4  # two a worker
    assert threads == {threading.get_ident()}


def test_work_starts_before_the_first_result_is_asked_for(two, tmp_path):
    results = two.map(os.mkdir, [str(tmp_path / "made")])
    stop = time.monotonic() + LONG
    while not (tmp_path / "made").exists() and time.monotonic() < stop:
        time.sleep(0.01)
    assert (tmp_path / "made").exists()
    assert list(results) == [(0, None)]


def test_large_tasks_and_results(two):
    tasks = [os.urandom(3 << 20) for _ in range(4)]
    assert dict(two.map(work, tasks)) == dict(enumerate(tasks))


def test_what_a_worker_prints_disturbs_nothing(two, capfd):
    assert list(two.map(work, ["print"])) == [(0, "print")]
    assert capfd.readouterr().out == ""


def test_errors_keep_class_and_context():
    with WorkerPool(1) as pool, pytest.raises(CorruptShardError) as caught:
        list(pool.map(work, ["fine", "damage", "fine"]))
    assert str(caught.value) == "damaged (shard='a.tar', key='k', offset=7)"
    assert (caught.value.shard, caught.value.offset) == ("a.tar", 7)
    assert isinstance(caught.value.__cause__, WorkerTraceback)
    assert 'raise CorruptShardError("damaged"' in str(caught.value.__cause__)


class TitledTask(str):
    """A task that says what it is about."""

    __slots__ = ()
    title = "data.mdb"  # in place of the method of texts


@pytest.mark.parametrize(
    ("task", "error", "says"),
    [
        (TitledTask("leave"), ShardpackError, "a worker process ended with exit code 3 while it read data.mdb; run"),
        ("unpicklable error", RuntimeError, "UnpicklableError: <function"),
        ("unpicklable result", Exception, "pickle|local object"),
        (UnpicklableTask(), pickle.PicklingError, "not this one"),
        pytest.param("die", ShardpackError, r"killed by signal 9 \(out of memory\?\); run", marks=needs_signals),
        ("leave", ShardpackError, "a worker process ended with exit code 3; run the same command again"),
    ],
)
def test_other_errors_come_through_once(task, error, says):
    with WorkerPool(1) as pool, pytest.raises(error, match=says):
        list(pool.map(work, ["fine", task, "fine", "fine"]))


def test_an_answer_that_cannot_be_read_changes_no_later_one():
    child = Child()
    try:
        assert child.ask(double, 1) == (True, 2)
        ok, error = child.ask(only_there, 1)
        assert (ok, str(error)) == (False, "not from elsewhere")
        assert child.ask(double, 3) == (True, 6), "by this function, and not by the one before"
    finally:
        child.kill()
        child.close()


def test_an_error_of_the_task_source_belongs_to_the_caller():
    def tasks():
        yield from range(7)
        raise LookupError("the source ended")

    with WorkerPool(1) as pool:
        with pytest.raises(LookupError, match="the source ended"):
            list(pool.map(double, tasks()))
        with pytest.raises(ShardpackError, match="have ended"):
            pool.map(double, [1])  # not left waiting for workers that are gone


@sees_processes
def test_leaving_early_leaves_no_process_and_no_thread():
    before = set(threading.enumerate())
    with WorkerPool(2) as pool:
        children = pids(pool)
        with closing(pool.map(work, ["fine", "sleep", "sleep", "sleep"])) as results:
            assert next(results) == (0, "fine")
        assert not any(map(alive, children))
    assert set(threading.enumerate()) <= before


@sees_processes
def test_a_pool_that_is_never_used_leaves_nothing():
    before = set(threading.enumerate())
    with WorkerPool(1) as pool:
        children = pids(pool)
    pool.close()
    assert not any(map(alive, children))
    assert set(threading.enumerate()) <= before


class NoRoom:
    """Backpressure that lets nothing begin."""

    def __init__(self):
        self.closed = threading.Event()

    def acquire(self):
        self.closed.wait()
        return False

    def close(self):
        self.closed.set()


def test_a_map_without_results_requested_holds_no_pool_open():
    pool = WorkerPool(2)
    pool.map(double, range(5), backpressure=NoRoom())
    closing_it = threading.Thread(target=pool.close, daemon=True)
    closing_it.start()
    closing_it.join(LONG)
    assert not closing_it.is_alive()


@sees_processes
def test_an_error_in_the_callers_block_ends_the_workers():
    def interrupted():
        with WorkerPool(2) as pool:
            children.extend(pids(pool))
            for _ in pool.map(work, ["fine", "sleep"]):
                raise KeyboardInterrupt

    children = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not any(map(alive, children))


@sees_processes
def test_a_child_that_does_not_start_leaves_no_other(monkeypatch):
    started = []
    real = subprocess.Popen

    def popen(*arguments, **options):
        if len(started) == 1:
            raise OSError(11, "Resource temporarily unavailable")
        started.append(real(*arguments, **options))
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="temporarily unavailable"):
        WorkerPool(2)
    assert not alive(started[0].pid)


def test_one_job_needs_no_worker():
    with start_workers(1) as pool:
        assert pool is IN_PROCESS
    with start_workers(2) as pool:
        assert len(pids(pool)) == 2


@pytest.mark.parametrize(("attribute", "value"), [("executable", ""), ("executable", None), ("frozen", True)])
def test_without_an_interpreter_there_is_only_this_process(monkeypatch, attribute, value):
    monkeypatch.setattr(sys, attribute, value, raising=False)
    with start_workers(2) as pool:
        assert pool is IN_PROCESS


@pytest.mark.parametrize(("options", "threads"), [({}, "1"), ({"threads_per_job": 3}, "3")])
def test_children_compute_in_one_thread_each_unless_told(monkeypatch, options, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")  # of a cluster, for one process that has the machine to itself
    with WorkerPool(1, **options) as pool:
        assert dict(pool.map(work, ["threads"])) == {0: thread_variables(int(threads))}
        assert set(thread_variables(1)) > {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"}


def test_libraries_in_children_compute_in_one_thread(monkeypatch):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("cv2", reason="needs OpenCV, a judge")
    for name in thread_variables(1):
        monkeypatch.delenv(name, raising=False)
    with WorkerPool(1) as pool:
        pools, opencv = dict(pool.map(judged_threads, [None]))[0]
    assert opencv == 1
    assert pools
    assert {library["num_threads"] for library in pools} == {1}


def test_one_job_whose_threads_are_told_has_a_process_of_its_own():
    with start_workers(1, threads_per_job=2) as pool:
        assert len(pids(pool)) == 1
        assert dict(pool.map(work, ["threads"])) == {0: thread_variables(2)}


@needs_signals
def test_children_never_see_ctrl_c(two):
    assert dict(two.map(work, ["signals"] * 4)) == dict.fromkeys(range(4), True)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # the caller does


# Called from elsewhere: scripts without a guard, standard input, closed descriptors, odd folders.

PROGRAM = """
from shardpack.runtime.sizes import parse_bytes
from shardpack.runtime.processes import WorkerPool
with WorkerPool(2) as pool:
    found = dict(pool.map(parse_bytes, ["1", "1KB", "1KiB"]))
with open({answer!r}, "w") as file:
    file.write(str(sorted(found.items())))
"""


def run_program(tmp_path, command):
    answer = tmp_path / "answer"
    program = PROGRAM.format(answer=str(answer))
    (tmp_path / "script.py").write_text(program)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, input=program, check=False, capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.returncode == 0
    assert answer.read_text() == "[(0, 1), (1, 1000), (2, 1024)]"


def test_from_a_script_without_a_guard(tmp_path):
    run_program(tmp_path, [sys.executable, "-W", "error", "script.py"])


def test_from_standard_input(tmp_path):
    run_program(tmp_path, [sys.executable, "-W", "error", "-"])


@needs_signals
@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_with_descriptors_closed(tmp_path, closed):
    run_program(tmp_path, ["sh", "-c", f"exec {sys.executable} script.py {closed}"])


def test_modules_that_lie_about_are_not_imported(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name in ("queue", "pickle", "numpy", "xxhash"):
        (tmp_path / "elsewhere" / f"{name}.py").write_text("raise SystemExit('the wrong module')")
    # "-c" puts "" on the path of the parent; this is about the child.
    program = "import os, sys; sys.path.remove(''); os.chdir('elsewhere'); exec(open('../script.py').read())"
    run_program(tmp_path, [sys.executable, "-c", program])


PARENT = """
import sys, time
from shardpack.runtime.processes import WorkerPool
from tests.runtime.test_processes import work
with WorkerPool(2) as pool:
    results = pool.map(work, ["fine", "sleep", "sleep", "fine"])
    next(results)
    print(*[child.pid for child in pool._children], flush=True)
    next(results)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@sees_processes
def test_no_orphans(number):
    """Workers of a parent that was killed end, though they are busy for ten minutes."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        children = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(alive, children))
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as a terminal does
        else:
            parent.send_signal(number)
        parent.wait()
        stop = time.monotonic() + LONG
        while any(map(alive, children)) and time.monotonic() < stop:
            time.sleep(0.01)
        assert not any(map(alive, children))
        complaint = parent.stderr.read()
        assert complaint.count("Traceback") == (number == signal.SIGINT)  # the parent's own, no child's
