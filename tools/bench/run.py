"""Run benchmarks one after the other, each in a process of its own, and collect their results in one file.

    run.py                                  all of them
    run.py stream resume --quick            two, small
    run.py --json all.json --work-dir DIR   where the result goes; where data is kept

Each also writes build/bench/NAME.json. What is installed decides which peers take part: `run`, beside
this file, installs them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from common import ROOT, options, print_table, work_folder, write_json

HERE = Path(__file__).resolve().parent
FOLDER = ROOT / "build" / "bench"
BENCHES = (
    "pack",
    "encode",
    "cluster",
    "write",
    "seek",
    "seek_scale",
    "cold",
    "open",
    "million",
    "stream",
    "loader",
    "recipe",
    "npy",
    "compress",
    "resume",
    "mixing",
    "balanced",
    "import_time",
    "index_size",
    "growth",
    "edited",
    "table",
    "plan_memory",
    "index_foreign",
    "repair",
    "foreign_indexes",
    "export",
    "bridges",
    "bucket",
)
MORE = ("data",)  # measure nothing that anyone waits for


def main() -> int:
    parser = options(__doc__, rounds=0)
    parser.set_defaults(rounds=None)  # each has its own
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join((*BENCHES, *MORE))} (default all)")
    args, others = parser.parse_known_args()
    if unknown := [name for name in args.names if name not in (*BENCHES, *MORE)]:
        parser.error(f"no benchmark {unknown[0]}; choose from {', '.join((*BENCHES, *MORE))}")
    if others and len(args.names) != 1:
        parser.error(f"{others[0]} is not an option of all of them: name the benchmark")
    results, failed, summary = [], [], []
    with ExitStack() as stack:
        # Shared, so that what several of them need is made once.
        shared = stack.enter_context(work_folder(args))
        for name in args.names or BENCHES:
            path = FOLDER / f"{name}.json"
            command = [sys.executable, HERE / f"{name}.py", "--work-dir", shared, "--json", path, "--scale", args.scale]
            command += [] if args.rounds is None else ["--rounds", args.rounds]
            command += ["--no-wait"] if args.no_wait else []
            began = time.perf_counter()
            done = subprocess.run([*map(str, command), *others], check=False)
            seconds = round(time.perf_counter() - began)
            if done.returncode:
                failed.append(name)
                continue
            result = json.loads(path.read_text())
            results.append({**result, "seconds": seconds})
            met = [target["met"] for target in result["targets"]]
            summary.append({"benchmark": name, "seconds": seconds, "targets": len(met), "met": sum(met)})
    path = args.json or FOLDER / "all.json"
    write_json(path, {"benchmarks": results, "failed": failed})
    print("\nall:")
    print_table(summary)
    print(f"written to {path}" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
