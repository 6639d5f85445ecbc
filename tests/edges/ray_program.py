"""Run as a program: a Ray cluster of two nodes on this machine, and what each line of standard input asks of it.

In a process of its own, since Ray leaves sockets and warnings behind.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import shardpack
from shardpack.ray import RayEngine

DIE = ("shard-000001.tar", "shard-000004.tar")


@dataclass(frozen=True)
class DieOnce:
    """Does what `function` does, but its process dies in the first attempt: before, in the midst, or after it."""

    function: Any
    folder: str
    when: str

    def __call__(self, task, advance):
        name = getattr(task, "name", task)
        marker = Path(self.folder, f"died-{name}")
        if name not in DIE or marker.exists():
            return self.function(task, advance)
        marker.touch()
        if self.when == "midst":
            dataclasses.replace(self.function, make=MakeAndDie(self.function.make))(task, advance)
        if self.when == "after":
            self.function(task, advance)
        os.kill(os.getpid(), signal.SIGKILL)
        return None


@dataclass(frozen=True)
class MakeAndDie:
    make: Any

    def __call__(self, task, advance):
        self.make(task, advance)
        os.kill(os.getpid(), signal.SIGKILL)


class DyingEngine:
    """A Ray engine whose worker dies once with some tasks."""

    remote = True

    def __init__(self, engine, folder, when):
        self._engine, self._folder, self._when = engine, folder, when
        self.jobs, self.on_every_node = engine.jobs, engine.on_every_node

    def map(self, function, tasks, **options):
        return self._engine.map(DieOnce(function, self._folder, self._when), tasks, **options)


def work(task):
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "bad":
        raise shardpack.errors.CorruptShardError("bad task", shard="a.tar", offset=7)
    if task == "variables":
        import cv2

        return os.environ["OMP_NUM_THREADS"], cv2.getNumThreads()
    return 2 * task


def shorten(fields):
    return {"jpg": fields["jpg"][:500], "json": {"length": len(fields["jpg"])}}


def pack(source, out, options, transforms=False):
    transform = {"transform": shorten, "transform_version": "1"} if transforms else {}
    report = shardpack.pack(source, out, engine="ray", **options, **transform)
    return {"resumed": report.resumed_shards, "missing": report.missing_shards}


def pack_dying(source, out, options, when, retries=3):
    with tempfile.TemporaryDirectory() as folder, RayEngine(retries=retries) as engine:
        report = shardpack.pack(source, out, engine=DyingEngine(engine, folder, when), **options)
        return {"shards": report.num_shards, "died": len(os.listdir(folder))}


def run(tasks, **options):
    with RayEngine(**options) as engine:
        return {"jobs": engine.jobs, "results": sorted(engine.map(work, tasks))}


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def lose_a_node(cluster, tasks):
    """Run tasks, of which some are on a node that ends, with all its workers, after the first result."""
    node, found = cluster.add_node(num_cpus=2), []
    with RayEngine() as engine:
        for number, seconds in engine.map(sleep, tasks):
            found.append((number, seconds))
            if node is not None:
                cluster.remove_node(node, allow_graceful=False)
                node = None
    return {"jobs": engine.jobs, "results": sorted(found)}


def nodes():
    with RayEngine() as engine:
        return {"results": [result for _, result in engine.on_every_node(work, 21)]}


ACTIONS = {function.__name__: function for function in (pack, pack_dying, run, nodes, lose_a_node)}


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(cluster.address, log_to_driver=False)  # once: it takes seconds, and no engine disconnects it
        say(f"ready {cluster.address}")
        for line in sys.stdin:
            request = json.loads(line)
            try:
                action = request.pop("action")
                if action == "lose_a_node":
                    request["cluster"] = cluster
                answer = ACTIONS[action](**request)
            except shardpack.ShardpackError as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            say(f"answer {json.dumps(answer)}")
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
