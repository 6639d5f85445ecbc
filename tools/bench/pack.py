"""Packing: GNU tar, `shardpack pack` and webdataset's ShardWriter on the same files, page cache warm.

tar and shardpack are whole processes, start-up included. shardpack writes checksums, indexes and a
manifest, and syncs all to the disk; plain `tar cf` syncs nothing and is the reference all the same
("tar, then sync" is for information). webdataset packs the first samples only, inside this process,
its start-up left out; its time is scaled to the whole. Before each run the disk is idle.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import webdataset as wds
from common import Report, options, work_folder
from data import PHOTO, TINY, Work, warm
from measure import CLI, interleave, ratio, run_process, timed

WDS_FRACTION = {"tiny": 20, "photo": 8}  # webdataset packs one in so many samples


def cases(work: Work, folder: Path, out: Path, shard_bytes: str) -> dict[str, Callable[[], float]]:
    """Return the runs to compare, by name; each returns seconds for the whole work."""

    def fresh(run: Callable[[], float]) -> Callable[[], float]:
        def prepared() -> float:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            os.sync()
            return run()

        return prepared

    def tar(*, sync: bool) -> float:
        command = ["tar", "cf", str(out / "all.tar"), "-C", str(folder), "."]
        return run_process(["sh", "-c", '"$@" && sync "$3"', "tar", *command] if sync else command)

    def shardpack(jobs: int, max_shard_bytes: str) -> float:
        size = ["--max-shard-bytes", max_shard_bytes]
        return run_process([*CLI, "pack", folder, out / "ours", "--jobs", str(jobs), *size, "--quiet"])

    def webdataset(**mtime: float) -> float:
        count = work.num_samples // WDS_FRACTION[work.name]
        keys = [key for key, _, _ in itertools.islice(work.samples(), count)]
        return timed(lambda: write_webdataset(folder, keys, out, **mtime)) * work.num_samples / count

    runs: dict[str, Callable[[], float]] = {
        "tar cf": lambda: tar(sync=False),
        "tar cf, then sync": lambda: tar(sync=True),
        "shardpack --jobs 1": lambda: shardpack(1, shard_bytes),
        "shardpack --jobs 2": lambda: shardpack(2, shard_bytes),
        "shardpack --jobs 2, 256MiB shards": lambda: shardpack(2, "256MiB"),
        "webdataset, mtime=0": lambda: webdataset(mtime=0),
        "webdataset": webdataset,
    }
    return {name: fresh(run) for name, run in runs.items()}


def write_webdataset(folder: Path, keys: list[str], out: Path, **mtime: float) -> None:
    """Pack the named samples with webdataset's own writer, as its documentation shows it."""
    with wds.ShardWriter(str(out / "%06d.tar"), maxsize=64 << 20, verbose=0, **mtime) as writer:
        for key in keys:
            with open(f"{folder}/{key}.jpg", "rb") as picture, open(f"{folder}/{key}.json", "rb") as label:
                writer.write({"__key__": key, "jpg": picture.read(), "json": label.read()})


def main() -> int:
    parser = options(__doc__, rounds=7)
    parser.add_argument("--max-shard-bytes", default="64MiB", help="of shardpack's shards (default 64MiB)")
    args = parser.parse_args()
    report = Report("pack", args)
    with work_folder(args) as root:
        speed: dict[str, Callable[[str, str], float]] = {}
        for work in (TINY.scaled(args.scale), PHOTO.scaled(args.scale)):
            folder = work.folder(root)
            num_bytes = warm(folder)
            out = root / "pack-out"
            seconds = interleave(cases(work, folder, out, args.max_shard_bytes), args.rounds)
            shutil.rmtree(out, ignore_errors=True)
            report.add_cases(work.name, seconds, per=work.num_samples, unit="samples", peer="tar cf")
            report.rows[-len(seconds)]["work"] = f"{work.name}, {num_bytes / 1e6:.0f} MB"
            speed[work.name] = lambda peer, ours, s=seconds: ratio(s[peer], s[ours])
            if work.name == "tiny":
                startup = statistics.median(run_process([*CLI, "pack", "--help"]) for _ in range(args.rounds))
                report.add(start_up="shardpack pack --help", seconds=round(startup, 3))
    tiny, photo = speed["tiny"], speed["photo"]
    report.target("tiny, --jobs 1 against tar", tiny("tar cf", "shardpack --jobs 1"), at_least=0.9)
    report.target("tiny, --jobs 2 against tar", tiny("tar cf", "shardpack --jobs 2"), at_least=1.5)
    fast_webdataset = tiny("webdataset, mtime=0", "shardpack --jobs 1")
    report.target("tiny, --jobs 1 against webdataset, mtime=0", fast_webdataset, at_least=10)
    report.target("tiny, --jobs 1 against webdataset", tiny("webdataset", "shardpack --jobs 1"), at_least=10)
    report.target("photo, --jobs 2 against tar", photo("tar cf", "shardpack --jobs 2"), at_least=1)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
