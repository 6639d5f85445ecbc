"""The streaming cases of `bucket.py`: whole epochs, the first sample, the first thousand beside the peers."""

from __future__ import annotations

import random
import subprocess
import tempfile
import time
from functools import cache, partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from bucket_peers import first_command
from bucket_served import LATENCY, Client, Prefix, Served
from common import Report
from data import Work, warm
from measure import apart, interleave, ratio, run_json, timed
from peers import HOW_TO_INSTALL, folder_of, missing

import shardpack

FIRST = 1000
RANGE_BYTES, RANGES_AT_ONCE = 16 << 20, 16
SLOW_ROUNDS = 3  # an epoch takes many seconds there, and the link hides what else the machine does

PLAIN, OURS, FROM_OPEN = f"{RANGES_AT_ONCE} ranges of 16 MiB at once", "shardpack", "shardpack, from open on"
PEERS = {
    "shardpack": OURS,
    "webdataset": "webdataset, pipe:curl",
    "mosaicml": "MosaicML Streaming",
    "litdata": "LitData",
}


@cache
def warm_dataset(prefix: Prefix) -> shardpack.Dataset:
    """Return a dataset with every index in memory; one for a process."""
    ds = shardpack.open(prefix.url, storage_options=prefix.options)
    _ = list(ds.keys())
    return ds


@cache
def client(prefix: Prefix, at_once: int) -> Client:
    """Return a client; one for a process."""
    return Client(prefix, at_once=at_once)


def go_epoch(prefix: Prefix, case: str, number: int) -> tuple[float, int]:
    """Return the seconds of an epoch, and its payload bytes."""
    ds = warm_dataset(prefix)
    if case == PLAIN:
        cut = prefix.ranges(RANGE_BYTES)
        random.Random(number).shuffle(cut)  # noqa: S311 - not for secrets
        return client(prefix, RANGES_AT_ONCE).seconds(cut), sum(size for _, _, size in cut)
    began, used = time.perf_counter(), 0
    if case == FROM_OPEN:
        ds = shardpack.open(prefix.url, storage_options=prefix.options)
    for sample in ds.stream(shuffle="blocks", seed=number):
        used += len(sample["jpg"]) + len(sample["json"])
    return time.perf_counter() - began, used


def measure_streams(report: Report, served: Served, photo: Path, rounds: int) -> None:
    """Epochs as fast as the machine allows, and as fast as a link does; then the first sample."""
    measure_link(report, "stream", served.prefix(photo, served.plain), served.plain, rounds)
    gigabit = served.prefix(photo, served.gigabit)
    measure_link(report, "stream at 1 Gbit/s", gigabit, served.gigabit, min(rounds, SLOW_ROUNDS))
    measure_first_sample(report, served, photo, rounds)


def measure_link(report: Report, title: str, prefix: Prefix, proxy: Any, rounds: int) -> None:
    """Epochs by way of one proxy."""
    fetched, seeds = [0.0], count(1)
    with apart({case: partial(go_epoch, prefix, case) for case in (PLAIN, OURS, FROM_OPEN)}) as processes:

        def run(case: str) -> float:
            proxy.clear()
            seconds, used = processes[case](next(seeds))
            if case == FROM_OPEN:  # manifest and indexes, too
                fetched.append(proxy.stats()["num_bytes"] / used)
            return seconds

        for process in processes.values():
            process(0)
        seconds = interleave({case: partial(run, case) for case in processes}, rounds)
    shards = warm_dataset(prefix).shards
    samples, num_bytes = (sum(getattr(info, name) for info in shards) for name in ("num_samples", "num_bytes"))
    report.add_cases(title, seconds, per=samples, unit="samples", num_bytes=num_bytes, peer=PLAIN)
    report.target(f"{title}: bandwidth of {PLAIN}", ratio(seconds[PLAIN], seconds[OURS]), at_least=0.85)
    report.target(f"{title}: bytes fetched / used", max(fetched), below=1.02)


def measure_first_sample(report: Report, served: Served, photo: Path, rounds: int) -> None:
    """From `shardpack.open` to the first sample."""
    plain, handshakes = served.prefix(photo, served.plain), served.prefix(photo, served.handshakes)

    def first(prefix: Prefix) -> None:
        next(iter(shardpack.open(prefix.url, storage_options=prefix.options).stream(shuffle="blocks")))

    def in_new_process() -> float:
        return float(run_json(first_command("shardpack", handshakes, 1, "-"))["seconds"])

    first(plain)  # imports the client
    cases = {
        "handshakes": lambda: timed(lambda: first(handshakes)),
        "no handshakes": lambda: timed(lambda: first(plain)),
        "handshakes, new process": in_new_process,
    }
    for case, found in interleave(cases, rounds).items():
        trips = median(found) / LATENCY
        report.add(first_sample=case, seconds=round(median(found), 4), round_trips=round(trips, 2))
        if case != "handshakes, new process":
            report.target(f"first sample, {case}: round trips", trips, below=5)


def measure_first(report: Report, served: Served, work: Work, rounds: int) -> None:
    """The first thousand samples, each run in a process that has done nothing."""
    folders = peer_folders(report, served, work)
    case = f"first {min(FIRST, work.num_samples):,}"
    for title, proxy in ((case, served.handshakes), (f"{case}, 90 MB/s a connection", served.narrow)):
        prefixes = {peer: served.prefix(folder, proxy) for peer, folder in folders.items()}
        measure_start(report, title, prefixes, min(FIRST, work.num_samples), rounds)


def measure_start(report: Report, title: str, prefixes: dict[str, Prefix], wanted: int, rounds: int) -> None:
    """The first samples of all peers, by way of one proxy."""
    found: dict[str, list[dict[str, Any]]] = {peer: [] for peer in prefixes}
    shards, seeds = len(warm_dataset(prefixes["shardpack"]).shards), count(1)

    def run(peer: str) -> float:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as empty:
            command = first_command(peer, prefixes[peer], wanted, empty, shards=shards, seed=next(seeds))
            found[peer].append(run_json(command))
        return float(found[peer][-1]["seconds"])

    for peer in prefixes:
        try:
            run(peer)  # writes compiled modules, and is not counted
        except subprocess.CalledProcessError:
            report.leave_out(f"{title}, {PEERS[peer]}: it failed, see above")
            del found[peer]
        else:
            found[peer].clear()
    seconds = interleave({peer: partial(run, peer) for peer in found}, rounds)
    named = {PEERS[peer]: runs for peer, runs in seconds.items()}
    num_bytes = found["shardpack"][-1]["num_bytes"]
    report.add_cases(f"{title}; imports done", named, per=wanted, unit="samples", num_bytes=num_bytes, peer=OURS)
    for peer, runs in found.items():
        with_start = median(run["with_start"] for run in runs)
        report.add(work=title, case=PEERS[peer], seconds_with_start_of_process=round(with_start, 3))
    if others := [peer for peer in seconds if peer != "shardpack"]:
        fastest = min(others, key=lambda peer: median(seconds[peer]))
        measured = ratio(seconds[fastest], seconds["shardpack"])
        report.target(f"{title}: against {PEERS[fastest]}", measured, at_least=2)


def peer_folders(report: Report, served: Served, work: Work) -> dict[str, Path]:
    """Return the data of those that are installed, made if it is not there yet."""
    shards = folder_of("shardpack", work, served.root)
    folders = {"shardpack": shards, "webdataset": shards}
    for peer, module, form in (("mosaicml", "streaming", "mds"), ("litdata", "litdata", "litdata")):
        if missing("torch", module):
            report.leave_out(f"first samples, {PEERS[peer]}: {HOW_TO_INSTALL}")
        else:
            folders[peer] = folder_of(form, work, served.root)
            warm(folders[peer])
    return folders
