"""Going on in the middle of an epoch, and what an epoch's order costs to set up.

    resume    1 million samples of a few bytes: the first batch from 90 % of the epoch on, after
              `load_state_dict`, beside the first batch of the epoch; opened anew each time
    set-up    100 million samples in 10,000 shards of 36 MB (`huge.py`): from `ds.stream` to the first
              sample of one rank of 8; each in a fresh process

Before, an uninterrupted epoch must give the very samples with which each resumed one goes on. "Late"
is the median over the rounds of what resuming takes more. Memory: the peak of the whole process,
interpreter and imports included.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from common import Report, run
from data import dataset, warm
from measure import fresh, interleave, memory, spread

import shardpack

SAMPLES, SHARDS, BATCH, PART = 1_000_000, 100, 256, 0.9
HUGE_SHARDS, HUGE_SHARD_SAMPLES, WORLD_SIZE = 10_000, 10_000, 8
MODES = ("blocks", "global")
State = dict[str, Any]


def positions(samples: Iterable[shardpack.Sample]) -> list[int]:
    """Return the positions of the samples of the first batch."""
    return [sample.position for sample in islice(samples, BATCH)]


def open_stream(folder: Path, mode: str) -> Any:
    return shardpack.open(folder).stream(shuffle=mode, seed=1, batch_size=BATCH)


def open_loader(folder: Path, mode: str) -> Any:
    return shardpack.open(folder).loader(BATCH, shuffle=mode, seed=1)


def first_batch(kind: str, folder: Path, mode: str, state: State | None) -> float:
    """Return the seconds until a stream or loader has given a batch; opening does not count, loading the state does.

    A loader may go on making batches, which does not count either.
    """
    opened = (open_stream if kind == "stream" else open_loader)(folder, mode)
    began = time.perf_counter()
    if state is not None:
        opened.load_state_dict(state)
    given = iter(opened)
    found = positions(given) if kind == "stream" else next(given)["cls"]
    seconds = time.perf_counter() - began
    if kind == "loader":
        given.close()
    assert len(found) == BATCH
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
    samples = ((f"{i:08d}", {"cls": b"%d" % (i % 1000)}) for i in range(count))
    folder = dataset(root / f"resume-{count}-packed", samples, max_shard_samples=-(-count // SHARDS))
    warm(folder)
    os.sync()
    states = {mode: interrupted(folder, mode) for mode in MODES}
    cases: dict[str, Callable[[], float]] = {}
    for kind in ("stream", "loader"):
        for mode in MODES:
            cases[f'{kind}, "{mode}", from the start'] = partial(first_batch, kind, folder, mode, None)
            cases[f'{kind}, "{mode}", resumed'] = partial(first_batch, kind, folder, mode, states[mode])
    seconds = interleave(cases, rounds, patient=False)
    for name, resumed in seconds.items():
        row = {"samples": count, "first_batch": name, "median_ms": round(1000 * median(resumed), 2)}
        report.add(**row, spread=spread(resumed))
    for name in (name for name in seconds if name.endswith("resumed")):
        start = seconds[name.replace("resumed", "from the start")]
        late = 1000 * median(now - then for now, then in zip(seconds[name], start, strict=True))
        report.target(f"{name} at 90 %: late, ms", late, below=50)


def set_up(folder: Path, mode: str) -> dict[str, float]:
    """Take the first sample of an epoch in this (fresh) process; return what it took, in seconds and MB."""
    ds = shardpack.open(folder)
    before, began = memory()["peak"], time.perf_counter()
    stream = ds.stream(shuffle=mode, seed=1, batch_size=BATCH, rank=0, world_size=WORLD_SIZE)
    made = time.perf_counter() - began
    next(iter(stream))
    return {"made": made, "first": time.perf_counter() - began, "before": before, "peak": memory()["peak"]}


def measure_set_up(report: Report, root: Path, scale: float, rounds: int) -> None:
    """Report what the order of a huge epoch costs before its first sample."""
    try:
        from huge import Huge
    except ImportError:
        return report.leave_out("set-up: this version writes its tables otherwise")
    huge = Huge(root / f"resume-huge-{scale:g}", max(10, round(HUGE_SHARDS * scale)), HUGE_SHARD_SAMPLES, keys=False)
    huge.write()
    for mode in MODES:
        runs = [fresh(partial(set_up, huge.folder, mode)) for _ in range(rounds)]
        made, first, before, peak = (median(run[name] for run in runs) for name in runs[0])
        report.add(
            order=mode,
            shards=huge.num_shards,
            stream_ms=round(1000 * made, 3),
            first_sample_ms=round(1000 * first, 3),
            process_MB=round(peak, 1),
            opened_MB=round(before, 1),
        )
        report.target(f'first sample of "{mode}": seconds', first, below=1)
        report.target(f'first sample of "{mode}": MB of the process', peak, below=200)
    shutil.rmtree(huge.folder)
    return None


def measure(report: Report, root: Path, args: argparse.Namespace) -> None:
    measure_resuming(report, root, max(100 * BATCH, round(SAMPLES * args.scale)), args.rounds)
    measure_set_up(report, root, args.scale, args.rounds)


if __name__ == "__main__":
    sys.exit(run(measure, rounds=11))
