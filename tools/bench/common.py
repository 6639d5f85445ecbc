"""What the benchmarks share: options, interleaved rounds, tables, targets, a JSON file with the machine's name tag.

Measured pieces return seconds; everything that compares runs them in turn, round after round, and
takes the median of the rounds' ratios, so that a busy neighbour slows both sides alike.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CLI = [sys.executable, "-m", "shardpack"]
QUIET_SHARE = 0.1  # of all CPU time: what other processes may use while we measure
QUIET_TRIES = 3
QUIET = {"waits": 600, "disturbed": 0}  # how often we still wait 0.2 s for a quiet machine; runs that had none


def options(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds of interleaved runs (default {rounds})")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full number of samples (default 1)")
    parser.add_argument(
        "--work-dir", type=Path, help="keep generated data here for the next run (default a temp folder)"
    )
    parser.add_argument("--json", type=Path, help="where the result goes (default build/bench/NAME.json)")
    return parser


@contextmanager
def work_folder(args: argparse.Namespace) -> Iterator[Path]:
    """Yield the folder for generated data; a temporary one is removed at the end."""
    if args.work_dir is not None:
        args.work_dir.mkdir(parents=True, exist_ok=True)
        yield args.work_dir.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="shardpack-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def interleave(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each case in each round. Every round runs all cases, the first one in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(undisturbed(cases[name]))
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


def environment() -> dict[str, Any]:
    """Return what a figure depends on besides the code: commit, interpreter, machine, load."""
    import numpy as np

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout.strip()

    changed = "+changes" if git("status", "--porcelain", "shardpack") else ""
    return {
        "commit": git("rev-parse", "--short", "HEAD") + changed,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


class Report:
    """Rows of one benchmark, and the targets they meet or miss."""

    def __init__(self, name: str, args: argparse.Namespace):
        self._name, self._args = name, args
        self._began = environment()
        self.rows: list[dict[str, Any]] = []
        self.targets: list[dict[str, Any]] = []

    def add(self, **row: Any) -> None:
        """Add one row. Rows of one shape make one table."""
        self.rows.append(row)

    def add_cases(self, work: str, seconds: Mapping[str, Sequence[float]], *, per: float, unit: str, peer: str) -> None:
        """Add a row for each case: `per` units of work in its median time, and its speed against the peer's."""
        for name, measured in seconds.items():
            median = statistics.median(measured)
            self.add(
                work=work,
                case=name,
                seconds=round(median, 6),
                **{f"{unit}/s": round(per / median, 1)},
                times=f"{ratio(seconds[peer], measured):.2f}",
                spread=f"{100 * (max(measured) - min(measured)) / median:.0f} %",
            )

    def target(self, what: str, measured: float, *, at_least: float | None = None, below: float | None = None) -> None:
        """Note whether a figure reaches what issue 2 asks for."""
        met = measured >= at_least if at_least is not None else below is not None and measured < below
        wanted = f">= {at_least:g}" if at_least is not None else f"< {below:g}"
        self.targets.append({"target": what, "wanted": wanted, "measured": round(measured, 3), "met": met})

    def finish(self) -> int:
        """Print the tables and write the JSON file; return an exit code."""
        print(f"\n{self._name}: " + ", ".join(f"{key} {value}" for key, value in self._began.items()))
        tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            tables.setdefault(tuple(row), []).append(row)
        for rows in (*tables.values(), self.targets):
            print_table(rows)
        print(f"runs disturbed by other processes: {QUIET['disturbed']}")
        path = self._args.json or ROOT / "build" / "bench" / f"{self._name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        given = {name: str(value) for name, value in vars(self._args).items() if name not in {"json", "work_dir"}}
        result = {
            "benchmark": self._name,
            "environment": self._began,
            "options": given,
            "disturbed": QUIET["disturbed"],
        }
        path.write_text(json.dumps({**result, "rows": self.rows, "targets": self.targets}, indent=1) + "\n")
        return 0


def print_table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of one shape under their names; numbers to the right."""
    if not rows:
        return
    cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = [isinstance(value, (int, float)) for value in rows[0].values()]
    print()
    for line in cells:
        padded = (
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(line, widths, numeric, strict=True)
        )
        print("  ".join(padded).rstrip())


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
