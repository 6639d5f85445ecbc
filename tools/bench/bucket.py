"""A bucket 30 ms away: samples, streams, packing and indexing by range requests.

    requests    cold open and one sample, by position and by key; one sample more
    get_many    256 random samples, against the slowest single request and the bare transfer
    keys        256 random samples by key beside 256 by position: round trips and requests
    mix         a mix of two datasets beside the streams of each alone: requests
    cpu         CPU seconds a GB of a stream, beside bare clients that fetch the very same ranges
    stream      an epoch shuffled by blocks, against a client that fetches the same bytes in ranges of
                16 MiB, 16 at once, and parses nothing; then the first sample alone
    first       1,000 samples from a process that has done nothing: webdataset, MosaicML Streaming, LitData
    pack        into the bucket, against packing to disk and then uploading
    index       a tar of 1 GB that webdataset wrote: what part of it is fetched

nginx serves the folder of data as S3 does (for `pack`: moto), behind proxies that hold every request
back for 30 ms, and where it says "handshakes" every new connection too. Requests and bytes are those
that the proxy saw. Server, proxy and client share the CPUs, so bandwidths are those of this machine;
"1 Gbit/s" and "90 MB/s a connection" limit all alike: the latter is what AWS says of S3. Page cache warm.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache, partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from bucket_cost import measure_cpu, measure_keys, measure_mix
from bucket_served import BUCKET, LATENCY, Prefix, Range, Served, import_servers, serve, watched
from bucket_stream import client, measure_first, measure_streams, warm_dataset
from common import Report, run
from data import PHOTO, Work, dataset, once, warm
from measure import apart, interleave, ratio, timed
from peers import folder_of, spans

import shardpack

BATCH, SINGLE = 256, 16
NUM_KEYS, KEYS_PER_SHARD, KEYS_PER_CLASS = 1_000_000, 10_000, 1_000
FOREIGN_BYTES = 10**9
PACK_FRACTION, PACK_SHARD_BYTES, PACK_JOBS = 0.5, "64MiB", 2
PART_BYTES = 16 << 20  # of an upload, as shardpack cuts it
CASES = ("requests", "get_many", "keys", "mix", "cpu", "stream", "first", "pack", "index")


# requests


def key_of(i: int) -> str:
    """Return the key of sample i of many."""
    return f"class{i // KEYS_PER_CLASS:04d}/{i:08d}"


def num_keys(scale: float) -> int:
    """Return how many keys there are at a scale."""
    return max(KEYS_PER_SHARD, round(NUM_KEYS * scale))


def many_keys(root: Path, num_samples: int) -> Path:
    """Return a dataset of many keys with next to no payload, made if it is not there yet."""
    samples = ((key_of(i), {"cls": b"%d" % (i // KEYS_PER_CLASS)}) for i in range(num_samples))
    return dataset(root / f"keys-{num_samples}-packed", samples, max_shard_samples=KEYS_PER_SHARD)


def measure_requests(report: Report, served: Served, photo: Path, scale: float, rounds: int) -> None:
    """Single samples: how many requests, one after the other."""
    count = num_keys(scale)
    keys = many_keys(served.root, count)
    random_from = random.Random(0).randrange  # noqa: S311 - not for secrets
    seen: dict[str, list[tuple[float, dict[str, int]]]] = {}

    def note(case: str, work: Callable[[], Any]) -> None:
        seen.setdefault(case, []).append(watched(served.handshakes, work))

    def opened(folder: Path) -> shardpack.Dataset:
        prefix = served.prefix(folder, served.handshakes)
        return shardpack.open(prefix.url, storage_options=prefix.options)

    def cold_and_warm() -> None:
        ds = opened(photo)
        position, other = random_from(len(ds)), random_from(count)
        note("cold: open, ds[position]", lambda: opened(photo)[position])
        note(f"cold: open, ds[key] of {count:,}", lambda: opened(keys)[key_of(other)])
        _ = ds[position]
        note("warm: ds[position]", lambda: ds[position ^ 1 if (position ^ 1) < len(ds) else 0])

    cold_and_warm()  # imports the client
    seen.clear()
    for _ in range(rounds):
        cold_and_warm()
    for (case, found), below in zip(seen.items(), (4, 6, 2), strict=True):
        requests = max(stats["num_requests"] for _, stats in found)
        seconds = median(seconds for seconds, _ in found)
        at_once = max(stats["max_in_flight"] for _, stats in found)
        trips = round(seconds / LATENCY, 2)
        report.add(case=case, requests=requests, at_once=at_once, seconds=round(seconds, 4), round_trips=trips)
        report.target(f"{case}: requests", requests, below=below)


# get_many


@cache
def ranges_of(prefix: Prefix) -> list[Range]:
    """Return the range of each sample: both payloads, and what lies between them."""
    descriptors, where = spans(prefix.local)
    names = dict(zip(descriptors, sorted(path.name for path in prefix.local.glob("*.tar")), strict=True))
    return [(names[tar], start, label_at + label_size - start) for tar, start, _, label_at, label_size in where]


def go_many(prefix: Prefix, case: str, number: int) -> tuple[float, int]:
    """Return the seconds of a case, and the bytes it used. All cases draw the same positions."""
    ds = warm_dataset(prefix)
    drawn = random.Random(number).sample(range(len(ds)), min(BATCH, len(ds)))  # noqa: S311 - not for secrets
    ranges, bare = [ranges_of(prefix)[at] for at in drawn], client(prefix, BATCH)
    before = ds.stats().bytes_used
    seconds = {
        "ours": lambda: timed(lambda: ds.get_many(drawn)),
        "one by one": lambda: timed(lambda: [ds[at] for at in drawn[:SINGLE]]),
        "slowest": lambda: bare.slowest(ranges[:SINGLE]),
        "bare": lambda: bare.seconds(ranges),
    }[case]()
    return seconds, ds.stats().bytes_used - before


def measure_many(report: Report, served: Served, photo: Path, rounds: int) -> None:
    """Random samples, indexes in memory, connections open."""
    prefix, batch = served.prefix(photo, served.plain), min(BATCH, len(shardpack.open(photo)))
    names = {
        "bare": ("bare client, the same ranges at once", batch),
        "ours": (f"get_many({BATCH})", batch),
        "slowest": (f"slowest of {SINGLE} single requests", 1),
        "one by one": (f"{SINGLE} times ds[i]", SINGLE),
    }
    requests, fetched = [0], {"ours": [0.0], "one by one": [0.0]}
    with apart({case: partial(go_many, prefix, case) for case in names}) as processes:
        numbers = {case: count(1) for case in names}

        def run(case: str) -> float:
            served.plain.clear()
            seconds, used = processes[case](next(numbers[case]))
            stats = served.plain.stats()
            if case == "ours":
                requests.append(stats["num_requests"])
            if case in fetched:
                fetched[case].append(stats["num_bytes"] / used)
            return seconds

        for process in processes.values():
            process(0)
        seconds = interleave({case: partial(run, case) for case in names}, rounds)
    for case, (name, per) in names.items():
        report.add_cases("get_many", {name: seconds[case]}, per=per, unit="samples", peer=name)
    # What all at once take beyond the latency is the transfer.
    allowed = [
        one + max(0.0, together - LATENCY) for one, together in zip(seconds["slowest"], seconds["bare"], strict=True)
    ]
    report.target("get_many: times slowest request + transfer", ratio(seconds["ours"], allowed), below=1.5)
    report.target("get_many: requests", max(requests), below=BATCH + 1)
    for case, parts in fetched.items():
        report.target(f"{names[case][0]}: bytes fetched / used", max(parts), below=1.1)


# pack


def measure_pack(report: Report, work: Work, root: Path, rounds: int) -> None:
    """Files of a folder into a bucket that takes them."""
    from obstore.store import S3Store

    import_servers()
    from tests.servers.proxy_process import ProxyProcess
    from tests.servers.s3 import S3Server

    folder, out = work.folder(root), root / "bucket-pack-out"
    num_bytes = warm(folder)
    limits = {"max_shard_bytes": PACK_SHARD_BYTES, "jobs": PACK_JOBS}
    in_turn, at_once = "pack to disk, then upload", "pack to the bucket"
    parts: dict[str, list[float]] = {"pack to disk": [], "upload": []}
    with ExitStack() as stack:
        server = S3Server()
        stack.callback(server.stop)
        proxy = stack.enter_context(ProxyProcess(server.url, latency_seconds=LATENCY))
        bucket = server.new_bucket()
        through, beside = (S3Store(bucket, **server.options(url)) for url in (proxy.url, None))
        given = {name: value for name, value in server.options(proxy.url).items() if name != "client_options"}

        def to_bucket(**more: Any) -> float:
            empty(beside)
            url = f"s3://{bucket}/photo"
            return timed(lambda: shardpack.pack(folder, url, storage_options=given, **limits, **more))

        def to_disk_first() -> float:
            empty(beside)
            shutil.rmtree(out, ignore_errors=True)
            both = timed(lambda: shardpack.pack(folder, out, **limits)), timed(lambda: upload(out, through))
            for part, seconds in zip(parts.values(), both, strict=True):
                part.append(seconds)
            return sum(both)

        try:
            to_bucket(dry_run=True)
        except shardpack.ShardpackError as error:
            report.leave_out(f"pack: {error}")
            return
        seconds = interleave({in_turn: to_disk_first, at_once: to_bucket}, rounds)
    shutil.rmtree(out)
    report.add_cases("pack", seconds, per=work.num_samples, unit="samples", num_bytes=num_bytes, peer=in_turn)
    for part, found in parts.items():
        report.add(work="pack", part=part, seconds=round(median(found), 3))
    report.target(f"{at_once}, against {in_turn}", ratio(seconds[in_turn], seconds[at_once]), at_least=0.8)


def upload(folder: Path, store: Any) -> None:
    """Put the files of a dataset into a bucket, as many at once as shardpack does; the manifest last."""
    import obstore

    def put(name: str) -> None:
        obstore.put(store, f"photo/{name}", folder / name, chunk_size=PART_BYTES)

    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    (manifest,) = (name for name in names if name in {"shardpack.json", ".shardpack/manifest.json"})
    names.remove(manifest)
    with ThreadPoolExecutor(PACK_JOBS + 1) as threads:
        for _ in threads.map(put, sorted(names)):
            pass
    put(manifest)


def empty(store: Any) -> None:
    """Empty a bucket."""
    import obstore

    obstore.delete(store, [item["path"] for item in obstore.list(store).collect()])


# index


def foreign(root: Path, num_bytes: int, **mtime: int) -> Path:
    """Return one large tar that webdataset wrote, made if it is not there yet."""

    def make(path: Path) -> None:
        import webdataset

        with webdataset.TarWriter(str(path), **mtime) as writer:
            for key, image, label in PHOTO.samples(num_bytes * 2 // (PHOTO.min_bytes + PHOTO.max_bytes)):
                writer.write({"__key__": key, "jpg": image, "json": label})

    return once(root / f"foreign-{num_bytes}{'-mtime' * bool(mtime)}.tar", make)


def measure_index(report: Report, served: Served, scale: float) -> None:
    """One tar, of which the headers are wanted; once, for nothing but the seconds varies."""
    prefix = served.prefix(served.root, served.plain)
    for title, mtime in (("mtime=0", {"mtime": 0}), ("default, pax headers", {})):
        tar = foreign(served.root, round(FOREIGN_BYTES * scale), **mtime)
        with tempfile.TemporaryDirectory() as out:
            given = {"out": out, "storage_options": prefix.options}
            try:
                work = partial(shardpack.index, [f"s3://{BUCKET}/{tar.name}"], **given)
                seconds, stats = watched(served.plain, work)
            except shardpack.ShardpackError as error:
                report.leave_out(f"index: {error}")
                return
        size, fetched = tar.stat().st_size, stats["num_bytes"]
        counts = {"requests": stats["num_requests"], "at_once": stats["max_in_flight"]}
        report.add(
            tar=title, num_bytes=size, seconds=round(seconds, 2), **counts, fetched=f"{100 * fetched / size:.2f} %"
        )
        report.target(f"index, {title}: bytes fetched / bytes of the tar", fetched / size, below=0.05)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    work = PHOTO.scaled(args.scale)
    photo = folder_of("shardpack", work, root)
    with ExitStack() as stack:
        try:
            served = serve(root, stack)
            cases: dict[str, Callable[[], None]] = {
                "requests": lambda: measure_requests(report, served, photo, args.scale, args.rounds),
                "get_many": lambda: measure_many(report, served, photo, args.rounds),
                "keys": lambda: measure_keys(report, served, many_keys(root, num_keys(args.scale)), args.rounds),
                "mix": lambda: measure_mix(report, served, args.scale),
                "cpu": lambda: measure_cpu(report, served, photo, args.rounds),
                "stream": lambda: measure_streams(report, served, photo, args.rounds),
                "first": lambda: measure_first(report, served, work, args.rounds),
                "pack": lambda: measure_pack(report, PHOTO.scaled(args.scale * PACK_FRACTION), root, args.rounds),
                "index": lambda: measure_index(report, served, args.scale),
            }
            for case in args.only:
                cases[case]()
        except pytest.skip.Exception as reason:  # how the servers of tests/ say it
            report.leave_out(str(reason))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES, help="some of the cases")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5, add=add_options))
