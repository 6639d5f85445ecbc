"""The cases of `bucket.py` that count: round trips by key, requests of a mix, CPU seconds a GB."""

from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

from bucket_served import TRIP, Client, Prefix, Range, Served, watched
from common import Report
from data import TINY, Work, dataset
from measure import apart, interleave, ratio

import shardpack

BATCH = 256
THREADS = 16
MIXED = {"a": 3000, "b": 1000}  # samples of two datasets, 4 KB each


def opened(prefix: Prefix) -> shardpack.Dataset:
    """Return a dataset in the bucket, opened anew."""
    return shardpack.open(prefix.url, storage_options=prefix.options)


# keys


def measure_keys(report: Report, served: Served, folder: Path, rounds: int) -> None:
    """Samples all over a dataset of many keys, by position and by key, with no index in memory and with all."""
    prefix = served.prefix(folder, served.trips)
    names = list(shardpack.open(folder).keys())
    draw = random.Random(7)  # noqa: S311 - not for secrets
    trips: dict[str, list[float]] = {}
    for _ in range(max(2, rounds)):
        drawn = draw.sample(range(len(names)), BATCH)
        for title, wanted in (("positions", drawn), ("keys", [names[at] for at in drawn])):
            ds = opened(prefix)
            for state in ("cold", "warm"):
                seconds, stats = watched(served.trips, partial(ds.get_many, wanted))
                trips.setdefault(f"{BATCH} {title}, {state}", []).append(seconds / TRIP)
                requests = stats["num_requests"]
                if len(trips[f"{BATCH} {title}, {state}"]) == 1:
                    report.add(get_many=f"{BATCH} {title}, {state}", requests=requests, at_once=stats["max_in_flight"])
    for case, found in trips.items():
        report.add(round_trips_of=case, round_trips=round(median(found), 2))
    for state in ("cold", "warm"):
        by_key, by_position = (median(trips[f"{BATCH} {title}, {state}"]) for title in ("keys", "positions"))
        report.target(f"{BATCH} keys, {state}: round trips more than of positions", by_key - by_position, below=4.5)


# mix


def measure_mix(report: Report, served: Served, scale: float) -> None:
    """Whole epochs in shuffled order; a mix in the proportion of its datasets, so that both end together."""
    found = []
    for name, count in MIXED.items():
        work = Work(f"mix-{name}", max(200, round(count * max(scale, 0.1))), TINY.min_bytes, TINY.max_bytes)
        folder = dataset(served.root / f"{work.name}-{work.num_samples}", work.fields(), max_shard_bytes="1MiB")
        found.append(opened(served.prefix(folder, served.plain)))
    for ds in found:
        ds.get_many([0, len(ds) - 1])  # imports the client
    alone = 0
    for name, ds in zip(MIXED, found, strict=True):
        alone += count_requests(report, served, f"stream of {name}", ds.stream(shuffle="blocks", seed=1))
    mixed = shardpack.mix([(ds, len(ds)) for ds in found], shuffle="blocks", seed=1)
    together = count_requests(report, served, "mix of both", mixed)
    report.target("mix: requests / those of the streams alone", together / alone, below=1.2)


def count_requests(report: Report, served: Served, case: str, samples: Any) -> int:
    """Report the requests of reading all samples, and return their number."""
    counted = 0

    def read() -> None:
        nonlocal counted
        for sample in samples:
            counted += len(sample["jpg"]) > 0

    seconds, stats = watched(served.plain, read)
    requests = stats["num_requests"]
    row = {"samples": counted, "requests": requests, "at_once": stats["max_in_flight"]}
    report.add(stream=case, **row, MB=round(stats["num_bytes"] / 1e6, 2), seconds=round(seconds, 3))
    return requests


# cpu


@cache
def stream_of(prefix: Prefix, scheme: str) -> Any:
    """Return a dataset in the bucket as one of S3, or of any web server; one for a process."""
    return opened(prefix) if scheme == "s3" else shardpack.open(prefix.http)


@cache
def bare_of(prefix: Prefix, scheme: str) -> Any:
    """Return what fetches ranges and nothing else; one for a process."""
    if scheme == "s3":
        return Client(prefix, at_once=THREADS).seconds
    import urllib3

    pool = urllib3.PoolManager(maxsize=THREADS)
    threads = ThreadPoolExecutor(THREADS)

    def get(wanted: Range) -> int:
        name, start, length = wanted
        headers = {"Range": f"bytes={start}-{start + length - 1}"}
        return len(pool.request("GET", f"{prefix.http}/{name}", headers=headers).data)

    return lambda ranges: sum(threads.map(get, ranges))


def go_stream(prefix: Prefix, scheme: str, seed: int) -> tuple[float, int]:
    """Return the CPU seconds of an epoch, threads included, and its payload bytes."""
    ds, used = stream_of(prefix, scheme), 0
    began = time.process_time()
    for sample in ds.stream(shuffle="blocks", seed=seed):
        used += len(sample["jpg"]) + len(sample["json"])
    return time.process_time() - began, used


def go_bare(prefix: Prefix, scheme: str, ranges: list[Range]) -> tuple[float, int]:
    """Return the CPU seconds of fetching the same ranges, and their bytes."""
    fetch = bare_of(prefix, scheme)
    began = time.process_time()
    fetch(ranges)
    return time.process_time() - began, sum(length for _, _, length in ranges)


def ranges_asked(proxy: Any) -> list[Range]:
    """Return what a proxy was asked for."""
    found = []
    for request in proxy.requests:
        if request.range is not None and request.range[1] is not None and request.path.endswith(".tar"):
            start, length = request.range
            found.append((request.path.rpartition("/")[2], start, length))
    return found


def a_gigabyte(run: Any, *given: Any) -> float:
    """Return the CPU seconds a GB of a run."""
    seconds, num_bytes = run(*given)
    return float(1e9 * seconds / num_bytes)


def measure_cpu(report: Report, served: Served, photo: Path, rounds: int) -> None:
    """A warm epoch from the server itself, no latency, against bare clients in processes of their own."""
    from tests.servers.proxy import Proxy

    for scheme, peer in (("http", "bare urllib3"), ("s3", "bare obstore")):
        with Proxy(served.direct) as proxy, apart({"seen": go_stream}) as processes:
            processes["seen"](served.prefix(photo, proxy), scheme, 1)
            ranges = ranges_asked(proxy)
        direct = served.prefix(photo)
        with apart({"shardpack": go_stream, peer: go_bare}) as processes:
            wanted = {"shardpack": 1, peer: ranges}
            for name, process in processes.items():
                process(direct, scheme, wanted[name])

            cases = {name: partial(a_gigabyte, run, direct, scheme, wanted[name]) for name, run in processes.items()}
            seconds = interleave(cases, rounds, patient=False)
        for name, found in seconds.items():
            report.add(cpu=f"{scheme}, {name}", ranges=len(ranges), cpu_seconds_a_GB=round(median(found), 3))
        slower = ratio(seconds["shardpack"], seconds[peer])
        report.target(f"{scheme}: CPU seconds a GB, times {peer}", slower, below=1.5)
