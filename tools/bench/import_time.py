"""Start-up: fresh processes that import shardpack, or numpy alone, or run `shardpack --help`.

"import" is the import statement by itself, that of numpy included; "process" is from start to end of the
interpreter. Names of `shardpack` are imported when they are asked for: `Dataset` stands for a process that reads,
`ShardWriter` for one that writes. The modules' files are in the page cache and compiled.
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
IMPORTS = {
    "numpy": "import numpy",
    "shardpack": "import shardpack",
    "shardpack.Dataset": "from shardpack import Dataset",
    "shardpack.ShardWriter": "from shardpack import ShardWriter",
}
_TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:  # noqa: ARG001 - it makes no data
    runs = {name: lambda command=command: run_process(command) for name, command in CASES.items()}
    imports = {
        name: lambda code=code: float(run_json([sys.executable, "-c", _TIMED.format(code)]))
        for name, code in IMPORTS.items()
    }
    for once in (*runs.values(), *imports.values()):
        once()
    seconds = interleave({**runs, **imports}, args.rounds)
    for kind, names in (("process", runs), ("import", imports)):
        for name in names:
            report.add(
                **{kind: name}, ms=round(1000 * statistics.median(seconds[name]), 1), spread=spread(seconds[name])
            )
    for name, most in (("shardpack", 20), ("shardpack.Dataset", 300)):
        report.target(f"import {name}, ms", 1000 * statistics.median(seconds[name]), below=most)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=21))
