"""Start-up: fresh processes that import shardpack, or numpy alone, or run `shardpack --help`.

"import" is the import statement by itself; "process" is from start to end of the interpreter. The
modules' files are in the page cache and compiled.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from common import Report, run
from measure import CLI, interleave, run_json, run_process, spread

CASES = {
    "python": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import shardpack": [sys.executable, "-c", "import shardpack"],
    "shardpack --help": [*CLI, "--help"],
    "shardpack pack --help": [*CLI, "pack", "--help"],
}
_TIMED = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:  # noqa: ARG001 - it makes no data
    runs = {name: lambda command=command: run_process(command) for name, command in CASES.items()}
    imports = {
        name: lambda name=name: float(run_json([sys.executable, "-c", _TIMED.format(name)]))
        for name in ("numpy", "shardpack")
    }
    for once in (*runs.values(), *imports.values()):
        once()
    seconds = interleave({**runs, **imports}, args.rounds)
    for kind, names in (("process", runs), ("import", imports)):
        for name in names:
            report.add(
                **{kind: name}, ms=round(1000 * statistics.median(seconds[name]), 1), spread=spread(seconds[name])
            )
    report.target("import shardpack, ms", 1000 * statistics.median(seconds["shardpack"]), below=150)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=21))
