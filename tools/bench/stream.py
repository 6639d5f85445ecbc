"""One epoch of raw bytes in one process: `ds.stream()` against its peers on the same samples.

    tiny, stored order    webdataset on the same shards, an LMDB cursor, bare `os.pread` with known offsets
    tiny, shuffled        MosaicML Streaming, LitData, LMDB in permuted order; and our own stored order
    photo, shuffled       the same
    photo, stored order   the bare bandwidth: the shards in reads of 4 MiB, thrown away; warm, and cold

Every case runs in a process of its own, in turn; before, each must deliver the very same payloads.
Nothing is decoded. What counts is an epoch, from `iter` to holding the last payload. LitData hands
out views of a memory map, whose bytes nobody has read yet: "as bytes" copies them, as all others do.
Cold: each run in a fresh process, after the shards were put out of the page cache; "from disk" says
what part of their bytes then came from there.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from cold import drop
from common import Report, run
from data import PHOTO, TINY, Work, warm
from measure import apart, fresh, interleave, ratio
from peers import (
    HOW_TO_INSTALL,
    Reader,
    folder_of,
    missing,
    read_litdata,
    read_lmdb,
    read_mosaicml,
    read_preads,
    read_shardpack,
    read_webdataset,
)

READ_BYTES = 4 << 20
STORED, SHUFFLED = "shardpack, stored order", 'shardpack, "blocks"'
WEBDATASET, CURSOR, PREAD = "webdataset", "LMDB, cursor", "os.pread"
PERMUTED, MOSAICML = "LMDB, permuted", "MosaicML Streaming"
LITDATA, LITDATA_VIEWS = "LitData, as bytes", "LitData, views"
INTO_BUFFER, AS_BYTES = "4 MiB reads, one buffer", "4 MiB reads, bytes"

Seconds = dict[str, list[float]]
Processes = dict[str, Callable[..., Any]]


def go(make: Callable[[], Reader], epoch: int) -> Any:
    """Return the seconds of an epoch; of epoch 0, which also opens what the others need, the digest."""
    return make().seconds(epoch) if epoch else make().digest(0)


def check(processes: Processes) -> None:
    """Compare what all of them deliver; end the program if it is not the same."""
    found = {name: process(0) for name, process in processes.items()}
    if len(set(found.values())) > 1:
        sys.exit(f"not the same payloads (samples, hash): {found}")


def measure_epochs(
    report: Report, title: str, work: Work, makers: dict[str, Callable[[], Reader]], rounds: int
) -> Seconds:
    """Report all cases against the first one; return their seconds."""
    with apart({name: partial(go, make) for name, make in makers.items()}) as processes:
        check(processes)
        os.sync()  # what was just made is not written back meanwhile
        epochs = count(1)
        cases = {name: lambda process=process: process(next(epochs)) for name, process in processes.items()}
        seconds = interleave(cases, rounds)
    num_bytes = sum(len(image) + len(label) for _, image, label in work.samples())
    first = next(iter(makers))
    report.add_cases(title, seconds, per=work.num_samples, unit="samples", peer=first, num_bytes=num_bytes)
    return seconds


def torch_peers(report: Report, work: Work, root: Path) -> dict[str, Callable[[], Reader]]:
    """Return the readers that need torch, as far as they are installed."""
    found: dict[str, Callable[[], Reader]] = {}
    if missing("torch", "streaming"):
        report.leave_out(f"{work.name}, {MOSAICML}: {HOW_TO_INSTALL}")
    else:
        found[MOSAICML] = partial(read_mosaicml, folder_of("mds", work, root))
    if missing("torch", "litdata"):
        report.leave_out(f"{work.name}, LitData: {HOW_TO_INSTALL}")
    else:
        folder = folder_of("litdata", work, root)
        found[LITDATA] = partial(read_litdata, folder, as_bytes=True)
        found[LITDATA_VIEWS] = partial(read_litdata, folder, as_bytes=False)
    for maker in found.values():
        warm(maker.args[0])
    return found


def warm_folders(work: Work, root: Path) -> tuple[Path, Path]:
    """Return the work as a dataset and as an LMDB, both in the page cache."""
    ours, peer = folder_of("shardpack", work, root), folder_of("lmdb", work, root)
    warm(ours)
    warm(peer)
    return ours, peer


def measure_stored(report: Report, work: Work, root: Path, rounds: int) -> None:
    """Tiny samples in stored order."""
    ours, peer = warm_folders(work, root)
    makers = {
        STORED: partial(read_shardpack, ours, "none"),
        CURSOR: partial(read_lmdb, peer, ours, permuted=False),
        WEBDATASET: partial(read_webdataset, ours),
        PREAD: partial(read_preads, ours),
    }
    seconds = measure_epochs(report, f"{work.name}, stored order", work, makers, rounds)
    for name, wanted in ((WEBDATASET, 40), (CURSOR, 1)):
        measured = ratio(seconds[name], seconds[STORED])
        report.target(f"{work.name}, stored order, against {name}", measured, at_least=wanted)


def measure_shuffled(report: Report, work: Work, root: Path, rounds: int, wanted: dict[str, float]) -> None:
    """Samples in shuffled order, against those that `wanted` names."""
    ours, peer = warm_folders(work, root)
    makers = {
        SHUFFLED: partial(read_shardpack, ours, "blocks"),
        STORED: partial(read_shardpack, ours, "none"),
        PERMUTED: partial(read_lmdb, peer, ours, permuted=True),
        **torch_peers(report, work, root),
    }
    seconds = measure_epochs(report, f"{work.name}, shuffled", work, makers, rounds)
    for name in (name for name in wanted if name in seconds):
        measured = ratio(seconds[name], seconds[SHUFFLED])
        report.target(f"{work.name}, shuffled, against {name}", measured, at_least=wanted[name])


def read_shards(folder: Path, *, into_buffer: bool) -> float:
    """Return the seconds of reading all shards front to back, and throwing the bytes away."""
    buffer = memoryview(bytearray(READ_BYTES))
    began = time.perf_counter()
    for path in sorted(folder.glob("*.tar")):
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer) if into_buffer else file.read(READ_BYTES):
                pass
    return time.perf_counter() - began


def go_bandwidth(name: str, folder: Path, *, cold: bool) -> tuple[float, int]:
    """Return the seconds of a run, and the bytes this process had from the disk for it."""
    if cold:
        drop(folder)
    before = _bytes_from_disk()
    if name == STORED:
        seconds = read_shardpack(folder, "none").seconds(0)
    else:
        seconds = read_shards(folder, into_buffer=name == INTO_BUFFER)
    return seconds, _bytes_from_disk() - before


def _bytes_from_disk() -> int:
    with open("/proc/self/io", encoding="ascii") as file:
        return int(dict(line.split(": ") for line in file)["read_bytes"])


def measure_bandwidth(report: Report, work: Work, root: Path, rounds: int) -> None:
    """Large samples in stored order, against reading the shards and nothing else; MB are those of the shards."""
    folder = folder_of("shardpack", work, root)
    num_bytes = sum(path.stat().st_size for path in folder.glob("*.tar"))
    os.sync()
    runs = {
        name: {cold: partial(go_bandwidth, name, folder, cold=cold) for cold in (False, True)}
        for name in (STORED, INTO_BUFFER, AS_BYTES)
    }
    warm(folder)
    with apart({name: run[False] for name, run in runs.items()}) as processes:
        seconds = {"warm": interleave({name: lambda p=p: p()[0] for name, p in processes.items()}, rounds)}
    from_disk: list[int] = []

    def cold(name: str) -> float:
        took, read = fresh(runs[name][True])
        from_disk.append(read)
        return took

    # Nobody maps the shards now, so that they can be dropped.
    seconds["cold"] = interleave({name: partial(cold, name) for name in (STORED, INTO_BUFFER)}, rounds)
    for state, wanted in (("warm", 0.7), ("cold", 0.9)):
        title = f"{work.name}, stored order, {state}"
        per = {"per": work.num_samples, "unit": "samples", "num_bytes": num_bytes}
        report.add_cases(title, seconds[state], **per, peer=INTO_BUFFER)
        for name in (name for name in seconds[state] if name != STORED):
            measured = ratio(seconds[state][name], seconds[state][STORED])
            report.target(f"{title}, bandwidth of {name}", measured, at_least=wanted)
    report.add(work=f"{work.name}, cold", from_disk=f"{100 * median(from_disk) / num_bytes:.0f} % of the shards' bytes")


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    tiny, photo = TINY.scaled(args.scale), PHOTO.scaled(args.scale)
    measure_stored(report, tiny, root, args.rounds)
    measure_shuffled(report, tiny, root, args.rounds, {STORED: 0.8, MOSAICML: 20, LITDATA: 3, PERMUTED: 1})
    measure_shuffled(report, photo, root, args.rounds, {MOSAICML: 3, LITDATA: 3, PERMUTED: 1})
    measure_bandwidth(report, photo, root, args.rounds)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=5))
