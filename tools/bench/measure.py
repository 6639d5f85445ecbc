"""Time pieces of work so that they can be compared on a machine that others use too.

Measured pieces return seconds. What is compared runs in turn, round after round, each time when the
machine is quiet if it ever is; of the rounds' ratios the median counts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import get_context
from typing import Any, TypeVar

T = TypeVar("T")

CLI = [sys.executable, "-m", "shardpack"]
QUIET_SHARE = 0.1  # of all CPU time: what other processes may use while we measure
# How often a run is tried, 0 not to look; how often we still wait 0.2 s for a quiet machine; runs that had none.
QUIET = {"tries": 3, "waits": 600, "disturbed": 0}


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def run_process(command: Sequence[str | os.PathLike[str]]) -> float:
    """Return the seconds a process takes, start-up included; it must succeed and stay quiet."""
    began = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    return seconds


def memory() -> dict[str, float]:
    """Return what this process has in memory, in MB: in all, its own, and of mapped files; and the most so far."""
    names = {"VmRSS": "resident", "RssAnon": "own", "RssFile": "files", "VmHWM": "peak"}
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return {short: int(lines[name].split()[0]) * 1024 / 1e6 for name, short in names.items()}


def run_json(command: Sequence[str | os.PathLike[str]]) -> Any:
    """Return what a process prints as JSON: for what needs a fresh process to be measured in."""
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


@contextmanager
def apart(cases: Mapping[str, Callable[..., T]]) -> Iterator[dict[str, Callable[..., T]]]:
    """Yield the same cases, each in a process of its own that lives on: none inherits another's threads and heap.

    Cases, what they take and what they return must pickle.
    """
    with ExitStack() as stack:
        found: dict[str, Callable[..., T]] = {}
        for name, case in cases.items():
            pool = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
            found[name] = lambda *taken, pool=pool, case=case: pool.submit(case, *taken).result()
        yield found


def fresh(case: Callable[[], T]) -> T:
    """Return what a case gives in a process that has done nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(case).result()


def interleave(
    cases: Mapping[str, Callable[[], float]], rounds: int, *, patient: bool = True
) -> dict[str, list[float]]:
    """Return the seconds of each case in each round. Every round runs all cases, the first one in turn.

    Args:
        cases: Name -> a function that does the work and returns the seconds of what counts.
        rounds: How often.
        patient: Wait for a quiet machine; not worth it for runs of a few milliseconds.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(undisturbed(cases[name]) if patient else cases[name]())
    return seconds


def undisturbed(case: Callable[[], float]) -> float:
    """Return the seconds of a run during which the machine did little else, of some tries the calmest."""
    if not QUIET["tries"]:
        return case()
    best_share, best_seconds = float("inf"), 0.0  # a share can be 1 and more: clocks tick coarsely
    for _ in range(QUIET["tries"]):
        while QUIET["waits"] > 0 and _others_share(_cpu_seconds(), wait=0.2) > QUIET_SHARE:
            QUIET["waits"] -= 1
        before = _cpu_seconds()
        seconds = case()
        best_share, best_seconds = min((best_share, best_seconds), (_others_share(before), seconds))
        if best_share <= QUIET_SHARE:
            return best_seconds
    QUIET["disturbed"] += 1
    return best_seconds


def _cpu_seconds() -> tuple[float, float, float]:
    """Return (clock, seconds all CPUs were busy, seconds this process and those below it were)."""
    own = sum(os.times()[:4]) + _descendants_seconds()
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, own


def _descendants_seconds() -> float:
    """Return the CPU seconds of the living processes below this one, and of those they have waited for.

    `os.times` counts children only when they have ended: not the workers that stay.
    """
    children: dict[int, list[tuple[int, int]]] = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has just ended
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()  # from the third on, see proc(5)
            children.setdefault(int(fields[1]), []).append((int(name), sum(map(int, fields[11:15]))))
    ticks, below = 0, [os.getpid()]
    while below:
        for process, used in children.get(below.pop(), ()):
            ticks += used
            below.append(process)
    return ticks / os.sysconf("SC_CLK_TCK")


def _others_share(before: tuple[float, float, float], *, wait: float = 0.0) -> float:
    """Return the part of all CPU time that went to other processes since `before`."""
    time.sleep(wait)
    elapsed, busy, own = (now - then for now, then in zip(_cpu_seconds(), before, strict=True))
    return max(0.0, busy - own) / (elapsed * (os.cpu_count() or 1))


def ratio(peer: Sequence[float], ours: Sequence[float]) -> float:
    """Return how many times our speed is the peer's: the median over the rounds."""
    return statistics.median(theirs / mine for theirs, mine in zip(peer, ours, strict=True))


def spread(seconds: Sequence[float]) -> str:
    """Return how far apart the middle half of the rounds lies, in percent of the median."""
    if len(seconds) < 2:
        return "-"
    low, median, high = statistics.quantiles(seconds, n=4)
    return f"{100 * (high - low) / median:.0f} %"
