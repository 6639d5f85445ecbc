"""Packing files: GNU tar, `shardpack pack` and webdataset's ShardWriter on the same files, page cache warm.

tar and shardpack are whole processes, start-up included. shardpack writes checksums, indexes and a
manifest, and syncs all to the disk; plain `tar cf` syncs nothing and is the reference all the same
("tar, then sync" is for information). webdataset packs the first samples only, inside this process,
start-up left out, and its time is scaled to the whole. "Zeros": what the tar's bytes cost without any
packing. Before each run the source is read once and the disk is idle. Writers that are fed from
memory: `write.py`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from common import Report, run
from data import PHOTO, TINY, Work, warm
from measure import CLI, interleave, ratio, run_process, timed
from peers import write_webdataset

FRACTION = {"tiny": 10, "photo": 8}  # webdataset packs one in so many samples


def cases(
    work: Work, folder: Path, out: Path, shard_bytes: str, cpu_seconds: dict[str, list[float]]
) -> dict[str, Callable[[], float]]:
    """Return the runs to compare, by name; each returns seconds for the whole work, and notes those of the CPUs."""

    def fresh(name: str, run: Callable[[], float]) -> Callable[[], float]:
        def prepared() -> float:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            warm(folder)
            os.sync()
            before = sum(os.times()[:4])
            seconds = run()
            cpu_seconds.setdefault(name, []).append(sum(os.times()[:4]) - before)
            return seconds

        return prepared

    def tar(*, sync: bool) -> float:
        command = ["tar", "cf", str(out / "all.tar"), "-C", str(folder), "."]
        return run_process(["sh", "-c", '"$@" && sync "$3"', "tar", *command] if sync else command)

    def ours(jobs: int, max_shard_bytes: str) -> float:
        size = ["--max-shard-bytes", max_shard_bytes]
        return run_process([*CLI, "pack", folder, out / "ours", "--jobs", str(jobs), *size, "--quiet"])

    def from_files(**mtime: float) -> float:
        count = work.num_samples // FRACTION[work.name]
        keys = [key for key, _, _ in work.samples(count)]
        return timed(lambda: write_webdataset(read_files(folder, keys), out, **mtime)) * work.num_samples / count

    def just_write() -> float:
        num_bytes = sum(tar_bytes(len(image)) + tar_bytes(len(label)) for _, image, label in work.samples())
        return timed(lambda: write_zeros(out / "zeros", num_bytes))

    runs: dict[str, Callable[[], float]] = {
        "tar cf": lambda: tar(sync=False),
        "tar cf, then sync": lambda: tar(sync=True),
        "shardpack --jobs 1": lambda: ours(1, shard_bytes),
        "shardpack --jobs 2": lambda: ours(2, shard_bytes),
        "shardpack --jobs 2, 256MiB shards": lambda: ours(2, "256MiB"),
        "webdataset.ShardWriter, mtime=0": lambda: from_files(mtime=0),
        "webdataset.ShardWriter": from_files,
        "as many zeros, written": just_write,
    }
    return {name: fresh(name, run) for name, run in runs.items()}


def read_files(folder: Path, keys: list[str]) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield samples from their files, as a script that packs for webdataset would."""
    for key in keys:
        with open(f"{folder}/{key}.jpg", "rb") as image, open(f"{folder}/{key}.json", "rb") as label:
            yield key, image.read(), label.read()


def tar_bytes(size: int) -> int:
    """Return what a payload takes in a tar."""
    return 512 + -(-size // 512) * 512


def write_zeros(path: Path, num_bytes: int) -> None:
    """Write a file, for what that alone costs here."""
    chunk = bytes(4 << 20)
    with open(path, "wb", buffering=0) as file:
        file.writelines(chunk for _ in range(-(-num_bytes // len(chunk))))


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    speed: dict[str, Callable[[str, str], float]] = {}
    for work in (TINY.scaled(args.scale), PHOTO.scaled(args.scale)):
        folder, out = work.folder(root), root / "pack-out"
        num_bytes = warm(folder)
        cpu_seconds: dict[str, list[float]] = {}
        seconds = interleave(cases(work, folder, out, args.max_shard_bytes, cpu_seconds), args.rounds)
        shutil.rmtree(out, ignore_errors=True)
        report.add_cases(
            f"{work.name}, {num_bytes / 1e6:.0f} MB", seconds, per=work.num_samples, unit="samples", peer="tar cf"
        )
        for row in report.rows[-len(seconds) :]:
            part = FRACTION[work.name] if "ShardWriter" in row["case"] else 1
            row["cpu_seconds"] = round(part * statistics.median(cpu_seconds[row["case"]]), 3)
        speed[work.name] = lambda peer, ours, s=seconds: ratio(s[peer], s[ours])
    startup = statistics.median(run_process([*CLI, "pack", "--help"]) for _ in range(args.rounds))
    report.add(start_up="shardpack pack --help", seconds=round(startup, 3))
    tiny, photo = speed["tiny"], speed["photo"]
    report.target("tiny (200,000 files), --jobs 1 against tar", tiny("tar cf", "shardpack --jobs 1"), at_least=0.9)
    report.target("tiny (200,000 files), --jobs 2 against tar", tiny("tar cf", "shardpack --jobs 2"), at_least=1)
    for mtime in (", mtime=0", ""):
        peer = f"webdataset.ShardWriter{mtime}"
        report.target(f"tiny, --jobs 1 against {peer}", tiny(peer, "shardpack --jobs 1"), at_least=10)
    report.target("photo, --jobs 2 against tar", photo("tar cf", "shardpack --jobs 2"), at_least=1)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-shard-bytes", default="64MiB", help="of shardpack's shards (default 64MiB)")


if __name__ == "__main__":
    sys.exit(run(measure, rounds=7, add=add_options))
