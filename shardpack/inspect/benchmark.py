"""Measure how fast a dataset is read on this machine: warm, with limited time, on its own samples."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, islice, repeat
from typing import Any, Protocol

import numpy as np

from shardpack.errors import DuplicateKeyError, OptionError
from shardpack.format.manifest import Manifest
from shardpack.read.sample import Sample, SampleLocation
from shardpack.runtime.progress import Progress, no_progress

BATCH = 256  # samples per `get_many`, unless they are large
BATCH_BYTES = 64 << 20
RANDOM_READS = 20_000  # largest number of different random reads
TICK_SECONDS = 1e-3  # between readings of the clock: long enough not to affect the result

Item = Sample | list[Sample]
Pass = Callable[[], Iterable[Item]]  # starts a pass over the same samples in the same order each time


class Readable(Protocol):
    """The part of a dataset, or of a view of one, that is measured."""

    @property
    def manifest(self) -> Manifest: ...
    def __len__(self) -> int: ...
    def __getitem__(self, item: Any) -> Any: ...
    def get_many(self, items: Iterable[int | str]) -> list[Sample]: ...
    def locate(self, item: list[int]) -> list[SampleLocation]: ...
    def position_of(self, key: str) -> int: ...
    def stream(self, *, shuffle: str = ..., seed: int = ...) -> Iterable[Sample]: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """The speed of one kind of read.

    Attributes:
        name: The kind of read.
        num_samples, num_bytes: How many samples were read, and their payload bytes.
        seconds: Wall time.
    """

    name: str
    num_samples: int
    num_bytes: int
    seconds: float

    @property
    def samples_per_second(self) -> float:
        """Samples per second."""
        return self.num_samples / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Payload bytes per second."""
        return self.num_bytes / self.seconds


def measure(dataset: Readable, *, seconds: float = 2.0, progress: Progress = no_progress) -> Iterator[Speed]:
    """Yield the speed of streaming and of random reads, one kind after the other.

    Each kind first reads samples for up to `seconds`, which opens what it needs and warms the page
    cache, and is then timed on the same samples for as long. All fields are read, as bytes, and are
    checked only if the dataset was opened with `verify`.

    Args:
        dataset: An open dataset, or a view of one.
        seconds: Limit for warming up, and again for measuring; at least one read is made.
        progress: Called as progress("bench", kinds done, total kinds).

    Raises:
        OptionError: The dataset is empty, or `seconds` is not positive.
    """
    size = len(dataset)
    if not size:
        raise OptionError("the dataset is empty; there is nothing to measure")
    if not seconds > 0:
        raise OptionError(f"seconds is {seconds}, expected more than 0")
    batch = max(1, min(BATCH, BATCH_BYTES * dataset.manifest.num_samples // (dataset.manifest.num_bytes + 1)))
    positions = np.random.default_rng(0).integers(0, size, max(batch, min(RANDOM_READS, size))).tolist()
    batches = [positions[i : i + batch] for i in range(0, len(positions) - batch + 1, batch)]
    keys = _keys_at(dataset, positions, seconds)
    passes: dict[str, Pass] = {
        "stream, stored order": dataset.stream,
        "stream, shards shuffled": lambda: dataset.stream(shuffle="shards", seed=0),
        "ds[i], random": lambda: map(dataset.__getitem__, positions),
        "ds[key], random": lambda: map(dataset.__getitem__, keys),
        f"get_many({batch}), random": lambda: map(dataset.get_many, batches),
    }
    if not keys:
        del passes["ds[key], random"]
    for done, (name, one_pass) in enumerate(passes.items()):
        progress("bench", done, len(passes))
        yield _measure(name, one_pass, seconds)
    progress("bench", len(passes), len(passes))


def _keys_at(dataset: Readable, positions: list[int], seconds: float) -> list[str]:
    """Return the keys of these samples, as many as are read in time, without keys that name two samples."""
    keys: list[str] = []
    deadline = time.perf_counter() + seconds
    for i in range(len(positions)):
        if i % BATCH == 0:
            located = dataset.locate(positions[i : i + BATCH])
        key = located[i % BATCH].key
        try:
            dataset.position_of(key)
            keys.append(key)
        except DuplicateKeyError:
            pass
        if time.perf_counter() > deadline:
            break
    return keys


def _measure(name: str, one_pass: Pass, seconds: float) -> Speed:
    reads = _warm_up(one_pass(), seconds)
    count, took = _time(chain.from_iterable(islice(f(), len(reads)) for f in repeat(one_pass)), seconds)
    rounds, rest = divmod(count, len(reads))
    samples, num_bytes = ([0, *accumulate(column)] for column in zip(*reads, strict=True))
    return Speed(name, rounds * samples[-1] + samples[rest], rounds * num_bytes[-1] + num_bytes[rest], took)


def _warm_up(items: Iterable[Item], seconds: float) -> list[tuple[int, int]]:
    """Return (samples, payload bytes) of each read that was made in time; at least one is made."""
    reads = []
    deadline = time.perf_counter() + seconds
    for item in items:
        samples = [item] if isinstance(item, Sample) else item
        reads.append((len(samples), sum(len(payload) for sample in samples for payload in sample.values())))
        if time.perf_counter() > deadline:
            break
    return reads


def _time(items: Iterator[Item], seconds: float) -> tuple[int, float]:
    """Return how many items of an endless iterator came in time, and the time they took."""
    count, step = 0, 1
    began = before = time.perf_counter()
    while True:
        deque(islice(items, step), maxlen=0)  # consumes them without a Python loop
        count += step
        now = time.perf_counter()
        if now - began >= seconds:
            return count, now - began
        if now - before < TICK_SECONDS:
            step *= 2
        before = now
