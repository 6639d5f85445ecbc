"""Run one benchmark against this checkout of shardpack and against another one, in turn, and print the ratios.

Each turn is a process of its own with the checkout on PYTHONPATH and a folder of data of its own: the files
of two versions need not be alike. The scripts use what both versions offer; what one of them leaves out is
compared with nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from common import ROOT, print_table, work_folder, write_json

TURNS = 3
NO_FIGURES = {"times", "spread"}  # of the others in the same run

Figures = dict[tuple[str, str], float]


def compare(script: Path, args: argparse.Namespace, arguments: list[str]) -> int:
    """Run a script's work for two checkouts; print and write both figures and their ratios; return an exit code."""
    checkouts = {"old": args.beside.resolve(), "new": ROOT}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in checkouts}
    rounds = max(1, -(-args.rounds // TURNS))
    with work_folder(args) as root:
        for turn in range(TURNS):
            for name in list(checkouts)[:: 1 if turn % 2 else -1]:
                path = root / f"{name}.json"
                own = ["--work-dir", root / name, "--json", path, "--rounds", rounds]
                command = [sys.executable, script, *_without_beside(arguments), *own]
                environment = {**os.environ, "PYTHONPATH": str(checkouts[name])}
                if subprocess.run([*map(str, command)], check=False, env=environment).returncode:
                    sys.exit(f"it fails with {checkouts[name]}, see above")
                found[name].append(json.loads(path.read_text()))
    rows = list(ratios([figures_of(run) for run in found["old"]], [figures_of(run) for run in found["new"]]))
    commits = {name: runs[0]["environment"]["commit"] for name, runs in found.items()}
    print(f"\n{script.stem}: old {commits['old']}, new {commits['new']}; medians of {TURNS} turns")
    print_table(rows)
    path = args.json or ROOT / "build" / "bench" / f"{script.stem}-beside.json"
    write_json(path, {"benchmark": script.stem, "commits": commits, "rows": rows, "runs": found})
    return 0


def _without_beside(arguments: list[str]) -> list[str]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--beside")
    return parser.parse_known_args(arguments)[1]


def figures_of(result: Mapping[str, Any]) -> Figures:
    """Return the figures of one run: (what a row is about, the name of a column) -> its number."""
    figures: Figures = {}
    for row in result["rows"]:
        shown = {name: value for name, value in row.items() if name not in NO_FIGURES}
        names = list(shown)
        last_text = max((at for at, name in enumerate(names) if isinstance(shown[name], str)), default=0)
        what = ", ".join(str(shown[name]) for name in names[: last_text + 1])
        for name in names[last_text + 1 :]:
            if isinstance(shown[name], (int, float)) and not name.endswith("/s"):  # a rate is the seconds over again
                figures[what, name] = shown[name]
    return figures


def ratios(old: list[Figures], new: list[Figures]) -> Iterator[dict[str, Any]]:
    """Yield a row for each figure that both have: its medians, and the median of the turns' ratios."""
    for what, name in new[0]:
        pairs = [(before.get((what, name)), after.get((what, name))) for before, after in zip(old, new, strict=True)]
        whole = [(before, after) for before, after in pairs if before is not None and after is not None]
        if not whole or all(before == after for before, after in whole):
            continue
        row = {"what": what, "figure": name, "old": float(median(a for a, _ in whole))}
        shared = [after / before for before, after in whole if before]
        yield {
            **row,
            "new": float(median(b for _, b in whole)),
            "new/old": round(median(shared), 3) if shared else float("inf"),
        }
