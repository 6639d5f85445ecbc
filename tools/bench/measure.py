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
from collections.abc import Callable, Mapping, Sequence
from typing import Any

CLI = [sys.executable, "-m", "shardpack"]
QUIET_SHARE = 0.1  # of all CPU time: what other processes may use while we measure
QUIET_TRIES = 3
QUIET = {"waits": 600, "disturbed": 0}  # how often we still wait 0.2 s for a quiet machine; runs that had none


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


def run_json(command: Sequence[str | os.PathLike[str]]) -> Any:
    """Return what a process prints as JSON: for what needs a fresh process to be measured in."""
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


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
    best_share, best_seconds = 1.0, 0.0
    for _ in range(QUIET_TRIES):
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
    """Return (clock, seconds all CPUs were busy, seconds this process and its children were)."""
    own = os.times()
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, *_ = map(int, file.readline().split()[1:])
    busy = (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, sum(own[:4])


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
