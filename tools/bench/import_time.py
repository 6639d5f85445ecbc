"""Start-up: fresh processes that import shardpack, or numpy alone, or run `shardpack --help`.

"import" is the import statement by itself; "process" is from start to end of the interpreter. The
modules' files are in the page cache and compiled.
"""

from __future__ import annotations

import statistics
import sys

from common import Report, options
from measure import CLI, interleave, run_json, run_process, spread

CASES = {
    "python": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import shardpack": [sys.executable, "-c", "import shardpack"],
    "shardpack --help": [*CLI, "--help"],
    "shardpack pack --help": [*CLI, "pack", "--help"],
}
_TIMED = "import time; began = time.perf_counter(); import {}; print(time.perf_counter() - began)"


def main() -> int:
    args = options(__doc__, rounds=21).parse_args()
    report = Report("import_time", args)
    runs = {name: lambda command=command: run_process(command) for name, command in CASES.items()}
    imports = {
        name: lambda name=name: float(run_json([sys.executable, "-c", _TIMED.format(name)]))
        for name in ("numpy", "shardpack")
    }
    for run in (*runs.values(), *imports.values()):
        run()
    seconds = interleave({**runs, **imports}, args.rounds)
    for name in runs:
        median = statistics.median(seconds[name])
        report.add(process=name, ms=round(1000 * median, 1), spread=spread(seconds[name]))
    for name in imports:
        median = statistics.median(seconds[name])
        report.add(**{"import": name}, ms=round(1000 * median, 1), spread=spread(seconds[name]))
    report.target("import shardpack, ms", 1000 * statistics.median(seconds["shardpack"]), below=150)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
