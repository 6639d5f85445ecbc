"""Going on in the middle of an epoch, and what an epoch's order costs to set up.

    resume    1 million samples of a few bytes: the first batch from 90 % of the epoch on, after
              `load_state_dict`, beside the first batch of the epoch; opened anew each time
    set-up    100 million samples in 10,000 shards of 256 MiB, pure plan, no files: from nothing to
              the first 8,192 items of one rank of 8; each in a fresh process

Before, an uninterrupted epoch must give the very samples with which each resumed one goes on. "Late"
is the median over the rounds of what resuming takes more. Memory: the peak of the whole process,
interpreter and imports included; and what Python and NumPy had allocated at most, in a second run.
"""

from __future__ import annotations

import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from common import Report, options, work_folder
from data import warm
from measure import fresh, interleave, spread
from open import memory

import shardpack
from shardpack.order.blocks import Segments
from shardpack.order.epoch import EpochOrder, Shuffle
from shardpack.order.partitions import Partitioning, RankSlice

SAMPLES, SHARDS, BATCH, PART = 1_000_000, 100, 256, 0.9
HUGE_SAMPLES, HUGE_SHARDS, HUGE_SHARD_BYTES = 100_000_000, 10_000, 256 << 20
WORLD_SIZE, PLANNED = 8, 8192
MODES = ("blocks", "global")
State = dict[str, Any]


def dataset(root: Path, count: int) -> Path:
    """Return a dataset of tiny samples, packed if it is not there yet."""
    folder = root / f"resume-{count}-packed"
    if not (folder / "shardpack.json").exists():
        with shardpack.ShardWriter(folder, max_shard_samples=-(-count // SHARDS), force=True) as writer:
            for i in range(count):
                writer.write(f"{i:08d}", {"cls": b"%d" % (i % 1000)})
    return folder


def positions(samples: Iterable[shardpack.Sample]) -> list[int]:
    """Return the positions of the samples of the first batch."""
    return [sample.position for sample in islice(samples, BATCH)]


def open_stream(folder: Path, mode: str) -> Any:
    return shardpack.open(folder).stream(shuffle=mode, seed=1, batch_size=BATCH)


def open_loader(folder: Path, mode: str) -> Any:
    return shardpack.open(folder).loader(BATCH, shuffle=mode, seed=1)


def first_of_stream(folder: Path, mode: str, state: State | None) -> float:
    """Return the seconds until a stream has given a batch; opening it does not count, loading the state does."""
    stream = open_stream(folder, mode)
    began = time.perf_counter()
    if state is not None:
        stream.load_state_dict(state)
    found = positions(stream)
    seconds = time.perf_counter() - began
    assert len(found) == BATCH
    return seconds


def first_of_loader(folder: Path, mode: str, state: State | None) -> float:
    """Return the same for a loader; it may go on making batches, which does not count."""
    loader = open_loader(folder, mode)
    began = time.perf_counter()
    if state is not None:
        loader.load_state_dict(state)
    batches = iter(loader)
    found = next(batches)
    seconds = time.perf_counter() - began
    batches.close()
    assert len(found["cls"]) == BATCH
    return seconds


def interrupted(folder: Path, mode: str) -> State:
    """Return the state at nine tenths of an epoch that was really read so far; the next batches must be the same."""
    stream = open_stream(folder, mode)
    samples = iter(stream)
    for _ in islice(samples, round(PART * stream.num_steps) * BATCH):
        pass
    state, expected = stream.state_dict(), positions(samples)
    resumed, loader = open_stream(folder, mode), open_loader(folder, mode)
    resumed.load_state_dict(state)
    loader.load_state_dict(state)
    keys = next(iter(loader))["__key__"]
    if not positions(resumed) == expected == [int(key) for key in keys]:
        sys.exit(f"{mode}: the resumed epoch goes on with other samples")
    return state


def measure_resuming(report: Report, root: Path, count: int, rounds: int) -> None:
    """Report first batches from the start and from nine tenths of the epoch."""
    folder = dataset(root, count)
    warm(folder)
    os.sync()
    states = {mode: interrupted(folder, mode) for mode in MODES}
    cases: dict[str, Callable[[], float]] = {}
    for kind, first in (("stream", first_of_stream), ("loader", first_of_loader)):
        for mode in MODES:
            cases[f'{kind}, "{mode}", from the start'] = partial(first, folder, mode, None)
            cases[f'{kind}, "{mode}", resumed'] = partial(first, folder, mode, states[mode])
    seconds = interleave(cases, rounds, patient=False)
    for name, resumed in seconds.items():
        row = {"samples": count, "first_batch": name, "median_ms": round(1000 * median(resumed), 2)}
        report.add(**row, spread=spread(resumed))
    for name in (name for name in seconds if name.endswith("resumed")):
        start = seconds[name.replace("resumed", "from the start")]
        late = 1000 * median(now - then for now, then in zip(seconds[name], start, strict=True))
        report.target(f"{name} at 90 %: late, ms", late, below=50)


def plan(mode: str, shards: int, shard_samples: int, *, traced: bool) -> dict[str, float]:
    """Set an order up in this (fresh) process and ask for its first items; return what it took."""
    before = memory()["peak"]  # not ru_maxrss: that goes on counting from the parent's
    if traced:
        tracemalloc.start()
    began = time.perf_counter()
    segments = Segments(np.full(shards, shard_samples), np.full(shards, HUGE_SHARD_BYTES))
    partitioning = Partitioning(shards * shard_samples, WORLD_SIZE, BATCH * WORLD_SIZE)
    order = EpochOrder(segments, Shuffle(mode), partitioning, 0)
    set_up = time.perf_counter() - began
    items = order.items(*RankSlice(partitioning, 0, WORLD_SIZE).locate(np.arange(PLANNED)))
    first_items = time.perf_counter() - began
    assert len(np.unique(items)) == len(items)
    peak = memory()["peak"]
    allocated = tracemalloc.get_traced_memory()[1] if traced else 0
    return {"set_up": set_up, "items": first_items, "before": before, "peak": peak, "allocated": allocated}


def measure_set_up(report: Report, scale: float, rounds: int) -> None:
    """Report what the order of a huge epoch costs before its first sample."""
    shards, shard_samples = max(1, round(HUGE_SHARDS * scale)), HUGE_SAMPLES // HUGE_SHARDS
    for mode in MODES:
        runs = [fresh(partial(plan, mode, shards, shard_samples, traced=False)) for _ in range(rounds)]
        traced = fresh(partial(plan, mode, shards, shard_samples, traced=True))
        set_up, items = (median(run[name] for run in runs) for name in ("set_up", "items"))
        peak = median(run["peak"] for run in runs)
        report.add(
            order=mode,
            shards=shards,
            all_samples=shards * shard_samples,
            set_up_ms=round(1000 * set_up, 3),
            first_items_ms=round(1000 * items, 3),
            process_MB=round(peak, 1),
            imports_MB=round(median(run["before"] for run in runs), 1),
            allocated_MB=round(traced["allocated"] / 1e6, 2),
        )
        if mode == "blocks":
            report.target('set-up of "blocks": seconds', set_up, below=1)
            report.target('set-up of "blocks": MB of the process', peak, below=200)
        else:
            report.target('set-up of "global": ms', 1000 * set_up, below=10)


def main() -> int:
    args = options(__doc__, rounds=11).parse_args()
    report = Report("resume", args)
    with work_folder(args) as root:
        measure_resuming(report, root, max(100 * BATCH, round(SAMPLES * args.scale)), args.rounds)
    measure_set_up(report, args.scale, args.rounds)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
