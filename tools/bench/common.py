"""What the benchmarks share: how a script runs, its options, tables, targets, JSON that names commit and machine.

A script is a function `measure(report, root, args)` and its docstring:

    if __name__ == "__main__":
        sys.exit(run(measure, rounds=5))
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import QUIET, ratio, spread

ROOT = Path(__file__).resolve().parents[2]
QUICK_SCALE, QUICK_ROUNDS = 0.02, 2

Measure = Callable[["Report", Path, argparse.Namespace], None]


def run(measure: Measure, *, rounds: int, add: Callable[[argparse.ArgumentParser], None] | None = None) -> int:
    """Run the script that `measure` stands in as its command line asks; return an exit code.

    Args:
        measure: Fills the report; generated data go into the folder.
        rounds: How many, if nothing is said.
        add: Adds the script's own options.
    """
    script = Path(sys.modules[measure.__module__].__file__ or "")
    parser = options(sys.modules[measure.__module__].__doc__, rounds=rounds)
    parser.add_argument("--beside", type=Path, metavar="DIR", help="measure another checkout of shardpack too, in turn")
    if add is not None:
        add(parser)
    args = parser.parse_args()
    if args.beside is not None:
        from beside import compare  # it needs this module

        return compare(script, args, sys.argv[1:])
    if args.no_wait:
        QUIET["tries"] = 0
    report = Report(script.stem, args)
    with work_folder(args) as root:
        measure(report, root, args)
    return report.finish()


def options(description: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks take."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"rounds of interleaved runs (default {rounds})")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full number of samples (default 1)")
    quick = f"--scale {QUICK_SCALE} --rounds {QUICK_ROUNDS} --no-wait: does it still run?"
    parser.add_argument("--no-wait", action="store_true", help="measure at once, however busy the machine is")
    parser.add_argument("--quick", action=_Quick, nargs=0, default=argparse.SUPPRESS, help=quick)
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


def environment() -> dict[str, Any]:
    """Return what a figure depends on: the commit of the shardpack that is measured, interpreter, machine, load."""
    import numpy as np

    import shardpack

    checkout = Path(shardpack.__file__).resolve().parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", *arguments]
        return subprocess.run(command, cwd=checkout, check=False, capture_output=True, text=True).stdout.strip()

    changed = "+changes" if git("status", "--porcelain", "shardpack") else ""
    return {
        "commit": git("rev-parse", "--short", "HEAD") + changed,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


class _Quick(argparse.Action):
    """Few samples, few rounds, no waiting; options that follow may change the first two."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:  # noqa: ARG002
        namespace.scale, namespace.rounds, namespace.no_wait = QUICK_SCALE, QUICK_ROUNDS, True


class Report:
    """Rows of one benchmark, and the targets they meet or miss."""

    def __init__(self, name: str, args: argparse.Namespace):
        self._name, self._args = name, args
        self._began = environment()
        self.rows: list[dict[str, Any]] = []
        self.targets: list[dict[str, Any]] = []
        self.left_out: list[str] = []

    def add(self, **row: Any) -> None:
        """Add one row. Rows of one shape make one table."""
        self.rows.append(row)

    def add_cases(
        self,
        work: str,
        seconds: Mapping[str, Sequence[float]],
        *,
        per: float,
        unit: str,
        peer: str,
        num_bytes: int | None = None,
    ) -> None:
        """Add a row for each case: `per` units of work in its median time, and its speed against the peer's."""
        for name, measured in seconds.items():
            median = statistics.median(measured)
            self.add(
                work=work,
                case=name,
                seconds=round(median, 6),
                **{f"{unit}/s": round(per / median, 1)},
                **({} if num_bytes is None else {"MB/s": round(num_bytes / median / 1e6, 1)}),
                times=f"{ratio(seconds[peer], measured):.2f}",
                spread=spread(measured),
            )

    def target(self, what: str, measured: float, *, at_least: float | None = None, below: float | None = None) -> None:
        """Note whether a figure reaches what is asked of it."""
        met = measured >= at_least if at_least is not None else below is not None and measured < below
        wanted = f">= {at_least:g}" if at_least is not None else f"< {below:g}"
        self.targets.append({"target": what, "wanted": wanted, "measured": round(measured, 3), "met": met})

    def leave_out(self, what: str) -> None:
        """Note what is not measured here, and why."""
        self.left_out.append(what)
        print(f"left out: {what}", file=sys.stderr)

    def finish(self) -> int:
        """Print the tables and write the JSON file; return an exit code."""
        print(f"\n{self._name}: " + ", ".join(f"{key} {value}" for key, value in self._began.items()))
        tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in self.rows:
            tables.setdefault(tuple(row), []).append(row)
        for rows in (*tables.values(), self.targets):
            print_table(rows)
        for what in self.left_out:
            print(f"left out: {what}")
        print(f"runs disturbed by other processes: {QUIET['disturbed']}")
        given = {name: str(value) for name, value in vars(self._args).items() if name not in {"json", "work_dir"}}
        head = {"benchmark": self._name, "environment": self._began, "options": given}
        measured = {
            "rows": self.rows,
            "targets": self.targets,
            "left_out": self.left_out,
            "disturbed": QUIET["disturbed"],
        }
        write_json(self._args.json or ROOT / "build" / "bench" / f"{self._name}.json", {**head, **measured})
        return 0


def write_json(path: Path, value: Any) -> None:
    """Write a result, and the folders it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


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
