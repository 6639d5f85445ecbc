"""`pack --resize short=256 --encode jpg:q=90` on Ray, two nodes of one core here, against two worker processes.

Both start up before: the time of a run with a few photos is taken off, that of workers and connections. What Ray's own
processes use of the same two cores counts. `--seconds 60` takes as many photos as the workers pack in a minute, instead
of a fixed number. Needs the extra `ray`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from common import ROOT, Report, run
from data import warm
from encode import photos
from measure import interleave, ratio, timed

import shardpack

COUNT, FEW, SOME = 18_000, 32, 320  # a minute on two cores; a start; what tells how many they pack in a second
OPTIONS = {"resize": "short=256", "encode": "jpg:q=90", "max_shard_bytes": "4MiB"}
CASES: dict[str, dict[str, Any]] = {"2 workers": {"jobs": 2}, "Ray, 2 nodes": {"engine": "ray"}}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, metavar="S", help="how long a run takes, about; else see --scale")


@contextmanager
def two_nodes() -> Iterator[None]:
    """Connect to a Ray cluster of two nodes with one core each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(cluster.address, log_to_driver=False)
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    if importlib.util.find_spec("ray") is None:
        report.leave_out('cluster: Ray is not installed; pip install ".[ray]"')
        return
    source = ROOT / "examples" / "images"
    few = photos(source, root, FEW)

    def packed(photos: Path, options: dict[str, Any]) -> float:
        shutil.rmtree(root / "cluster", ignore_errors=True)
        return timed(lambda: shardpack.pack(photos, root / "cluster", **OPTIONS, **options))

    count = max(SOME, round(COUNT * args.scale))
    if args.seconds is not None:
        some, workers = photos(source, root, SOME), CASES["2 workers"]
        rate = (SOME - FEW) / (packed(some, workers) - packed(few, workers))
        count = max(SOME, round(rate * args.seconds))
    folder = photos(source, root, count)
    warm(folder)

    def case(options: dict[str, Any]) -> Callable[[], float]:
        return lambda: packed(folder, options) - packed(few, options)

    with two_nodes():
        for options in CASES.values():
            packed(few, options)  # starts Ray's workers
        seconds = interleave({name: case(options) for name, options in CASES.items()}, args.rounds)
    report.add_cases("photos", seconds, per=count - FEW, unit="photos", peer="2 workers")
    report.target("2 workers / Ray", ratio(seconds["2 workers"], seconds["Ray, 2 nodes"]), at_least=0.9)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5, add=add))
