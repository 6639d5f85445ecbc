"""Edited datasets against themselves before the edit: what reading costs more, and what the edits take.

**Deleted**: 2,000,000 samples of one label, in stored order; 1,000 of them, anywhere, are deleted. Generation 1 is
the dataset before, and both are read from the same shards in one process, in turn, page cache warm: `ds[i]` and
`get_many` at random, and epochs of raw bytes. Nothing here waits for anything, so the seconds are those of the CPU.

**Layers**: the works of `data.py` with a layer that replaces every label, against the same dataset packed again, which
folds the layer into its shards. Then epochs over loopback HTTP: the requests of both.

**Appended**: 10,000 samples, an image of 20 KB and a label each, to 1,000,000 samples, against packing them alone: from
files, from a dataset, and from memory. By the clock, in one process, in turn. Before each run the dataset is as it was
before, by hard links, and the disk has written all that was written to it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bucket_served import import_servers
from common import Report, run
from data import PHOTO, TINY, Work, dataset, once, packed, warm, write_files
from measure import interleave, ratio, spread, timed
from seek import BATCH

import shardpack

SAMPLES, DELETED, READS = 2_000_000, 1_000, 20_480
MOST = 1.15  # times the seconds before the edit
MOST_STREAMED, MOST_SOUGHT = 1.3, 2.0  # times those of the folded dataset
GROWN, APPENDED = 1_000_000, 1.3  # samples that a hundredth is appended to; times the seconds of packing that alone
ORDERS = ("none", "blocks", "global")


def key_of(i: int) -> str:
    """Return the key of sample i."""
    return f"{i // 1000:05d}/{i:08d}"


def samples(count: int) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield tiny samples: a label each."""
    for i in range(count):
        yield key_of(i), {"json": b'{"label": %d}' % (i % 1000)}


def one_by_one(ds: shardpack.Dataset, positions: list[int]) -> float:
    """Return the CPU seconds of `ds[i]` for each position."""
    began = time.process_time()
    for position in positions:
        _ = ds[position]["json"]
    return time.process_time() - began


def together(ds: shardpack.Dataset, positions: list[int]) -> float:
    """Return the CPU seconds of `get_many` for all positions."""
    began = time.process_time()
    for first in range(0, len(positions), BATCH):
        for sample in ds.get_many(positions[first : first + BATCH]):
            _ = sample["json"]
    return time.process_time() - began


def epoch(ds: shardpack.Dataset, shuffle: str) -> float:
    """Return the CPU seconds of an epoch, per sample of it."""
    began = time.process_time()
    for sample in ds.stream(shuffle=shuffle, seed=1):
        _ = sample["json"]
    return (time.process_time() - began) / len(ds)


def compare(report: Report, work: str, cases: dict[str, Callable[[shardpack.Dataset], float]], *,
            before: shardpack.Dataset, after: shardpack.Dataset, rounds: int, most: float = MOST) -> None:  # fmt: skip
    """Report what each case takes with both datasets, in turn; a case returns its CPU seconds, in total or a sample."""
    for name, case in cases.items():
        pair = {"before": lambda case=case: case(before), "after": lambda case=case: case(after)}
        seconds = interleave(pair, rounds, patient=False)
        times = statistics.median(b / a for a, b in zip(seconds["before"], seconds["after"], strict=True))
        report.add(
            work=work,
            case=name,
            before_us=round(1e6 * statistics.median(seconds["before"]), 3),
            after_us=round(1e6 * statistics.median(seconds["after"]), 3),
            times=round(times, 3),
            spread=spread(seconds["after"]),
        )
        report.target(f"{work}: {name}, against the dataset before", times, below=most)


def measure_deleted(report: Report, root: Path, args: argparse.Namespace) -> None:
    """Report `delete`, and what reading costs more afterwards."""
    count = round(SAMPLES * args.scale)
    num_deleted = min(DELETED, count // 4)
    folder = dataset(root / f"edited-{count}", samples(count), max_shard_bytes="64MiB")
    rng = np.random.default_rng(5)
    if shardpack.open(folder).manifest.generation == 1:
        keys = list(map(key_of, rng.choice(count, num_deleted, replace=False).tolist()))
        seconds = timed(lambda: shardpack.delete(folder, keys))
        report.add(edit="delete", deleted=num_deleted, samples=count, seconds=round(seconds, 3))
        report.target(f"delete {num_deleted:,} of {count:,}, seconds", seconds, below=1.0)
    else:
        report.leave_out("delete: an earlier run with this --work-dir did it")
    warm(folder)
    before, after = shardpack.open(folder, generation=1), shardpack.open(folder)
    for ds in (before, after):  # every shard open and mapped
        for position in rng.integers(len(after), size=max(READS, 200 * len(ds.shards))).tolist():
            _ = ds[position]
    positions = rng.integers(len(after), size=READS).tolist()
    per_read = {
        "ds[i]": lambda ds: one_by_one(ds, positions) / READS,
        f"get_many({BATCH})": lambda ds: together(ds, positions) / READS,
    }
    work = f"{num_deleted:,} deleted"
    compare(report, work, per_read, before=before, after=after, rounds=4 * args.rounds)
    epochs = {f"stream, {shuffle}": lambda ds, shuffle=shuffle: epoch(ds, shuffle) for shuffle in ORDERS}
    compare(report, work, epochs, before=before, after=after, rounds=args.rounds)


def measure_layers(report: Report, root: Path, args: argparse.Namespace) -> None:
    """Report what a layer that replaces every label costs, against the dataset into which it is folded."""
    for work in (TINY.scaled(args.scale), PHOTO.scaled(args.scale)):
        base, folded = with_new_labels(work, root)
        for folder in (base, folded):
            warm(folder)
        before, after = shardpack.open(folded), shardpack.open(base)
        positions = np.random.default_rng(6).integers(len(after), size=READS).tolist()
        for ds in (before, after):
            one_by_one(ds, positions)
        per_read = {
            "ds[i]": lambda ds, at=positions: one_by_one(ds, at) / READS,
            f"get_many({BATCH})": lambda ds, at=positions: together(ds, at) / READS,
        }
        what = f"{work.name}, labels in a layer"
        compare(report, what, per_read, before=before, after=after, rounds=args.rounds, most=MOST_SOUGHT)
        epochs = {f"stream, {shuffle}": lambda ds, shuffle=shuffle: epoch(ds, shuffle) for shuffle in ORDERS}
        for name, case in epochs.items():
            most = MOST_SOUGHT if "global" in name else MOST_STREAMED
            compare(report, what, {name: case}, before=before, after=after, rounds=args.rounds, most=most)
        measure_requests(report, what, root, base, folded)


def with_new_labels(work: Work, root: Path) -> tuple[Path, Path]:
    """Return a packed work with a layer of new labels, and the same packed again."""
    base = packed(work, root / "layers", max_shard_bytes="64MiB")
    if shardpack.open(base).manifest.generation == 1:
        labels = ((key, {"json": label.replace(b"label", b"changed")}) for key, _, label in work.samples())
        shardpack.attach(base, dataset(root / "layers" / f"{base.name}-labels", labels, max_shard_bytes="64MiB"))
    folded = base.with_name(f"{base.name}-folded")
    if not folded.exists():
        shardpack.pack(shardpack.open(base), folded, max_shard_bytes="64MiB")
    return base, folded


def measure_requests(report: Report, work: str, root: Path, base: Path, folded: Path) -> None:
    """Report the requests of an epoch over loopback HTTP, with indexes in memory."""
    import_servers()
    from tests.servers.nginx import NginxServer

    server = NginxServer(root)
    try:
        for name, folder in (("folded", folded), ("layers", base)):
            with shardpack.open(f"{server.url}/{folder.relative_to(root).as_posix()}") as ds:
                list(ds.keys())
                ds.get_many(range(0, len(ds), 100), fields=["json"])
                for shuffle in ("none", "blocks"):
                    before = ds.stats()
                    seconds = timed(partial(epoch, ds, shuffle))
                    after = ds.stats()
                    report.add(
                        work=work,
                        served=name,
                        order=shuffle,
                        requests=after.requests - before.requests,
                        fetched_mb=round((after.bytes_fetched - before.bytes_fetched) / 1e6, 1),
                        seconds=round(seconds, 2),
                    )
    finally:
        server.stop()


def measure_appended(report: Report, root: Path, args: argparse.Namespace) -> None:
    """Report what appending takes, against packing the same alone."""
    count = round(GROWN * args.scale)
    limit = {"max_shard_bytes": "64MiB"}  # an append keeps to that of the dataset
    base = dataset(root / f"edited-base-{count}", samples(count), **limit)
    body = np.random.default_rng(6).integers(0, 256, 20_000, np.uint8).tobytes()
    new = [(f"new/{i:06d}", {"jpg": body, "json": b'{"label": %d}' % (i % 1000)}) for i in range(count // 100)]
    files = root / f"edited-files-{len(new)}"
    once(files, lambda folder: write_files(folder, ((f"{key}.{n}", data) for key, s in new for n, data in s.items())))
    one = dataset(root / f"edited-new-{len(new)}", iter(new))
    sources: dict[str, tuple[Any, dict[str, Any]]] = {
        "files": (files, {"layout": "files", "jobs": 1}),
        "a dataset": (one, {"jobs": 1}),
        "memory": (new, {}),
    }
    out = root / "edited-out"

    def case(work: Callable[[Path], Any]) -> float:
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(base, out / "grown", copy_function=os.link)
        os.sync()
        return timed(lambda: work(out))

    for name, (source, options) in sources.items():
        seconds = interleave(
            {
                "alone": lambda s=source, o=options: case(lambda out: shardpack.pack(s, out / "alone", **limit, **o)),
                "append": lambda s=source, o=options: case(lambda out: shardpack.append(s, out / "grown", **o)),
            },
            args.rounds,
        )
        times = ratio(seconds["append"], seconds["alone"])
        report.add(
            edit="append",
            source=name,
            added=len(new),
            samples=count,
            alone_s=round(statistics.median(seconds["alone"]), 3),
            append_s=round(statistics.median(seconds["append"]), 3),
            times=round(times, 3),
            spread=spread(seconds["append"]),
        )
        report.target(f"append {len(new):,} from {name} to {count:,}, against packing them", times, below=APPENDED)
    shutil.rmtree(out)


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    if args.only in {None, "deleted"}:
        measure_deleted(report, root, args)
    if args.only in {None, "layers"}:
        measure_layers(report, root, args)
    if args.only in {None, "appended"}:
        measure_appended(report, root, args)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a part."""
    parser.add_argument("--only", choices=("deleted", "layers", "appended"), help="measure one part alone")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5, add=add_options))
