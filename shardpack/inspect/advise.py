"""Which encoding pays for these images: try some of them in all encodings, and compute epochs from what was measured.

source --evenly--> samples --every encoding--> bytes, seconds, loss --hardware--> epochs --> recommendation
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np

from shardpack.errors import MissingDependencyError, SourceError
from shardpack.inspect.draw import Draw, draw_evenly
from shardpack.inspect.draw_rows import draw_rows
from shardpack.inspect.encoding_trial import Damaged, Encoding, Trial, TrialTask, Unfit, run_trials
from shardpack.inspect.epoch_time import Epoch, Hardware
from shardpack.inspect.recommendation import Measured, recommend, shard_bytes
from shardpack.order.permutation import PACK_ORDER, derive_key, permutation
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.engine import IN_PROCESS, Engine
from shardpack.runtime.processes import start_workers
from shardpack.runtime.progress import Progress, no_progress
from shardpack.sources.listing import Listing
from shardpack.sources.row_source import RowSource
from shardpack.sources.source import SHOWN
from shardpack.storage.memory import MemoryStore
from shardpack.write.shard_writer import ShardWriter

SAMPLES = 48
SECONDS = 60.0
FRAME_BYTES = (16 << 10, 64 << 10)
ALONE = 4  # of so many images one is tried first by one process alone
FEWEST = 2  # images that are tried whatever time they take
WORTH_COMPRESSING = 0.8  # of the plain tars: with less gain, shards stay plain tars that everybody reads
WORTH_LARGER_FRAMES = 0.9  # of the smaller frames: a random sample is read with its whole frame
MARGIN = 8 / 7  # of stored images around what a crop for training shows: short=256 for 224


@dataclass(frozen=True, slots=True)
class Advice:
    """What was measured, and what follows.

    Attributes:
        num_images: Images in the source.
        num_tried: Images that were tried.
        damaged: Name of each image that was drawn, but cannot be read or does not decode -> why.
        field: Field of the first image that was tried.
        train_size: Height and width of the pixels that training takes.
        jobs: Processes that were at work at once for the figures "all"; more than there are cores count as these.
        place: Where epochs were compared: "disk", "bucket" or "memory".
        hardware: The rates that epochs were computed with.
        measured: The encodings, images as they are first.
        skipped: Encodings that were not tried, and why.
        recommended: The one that pays.
        reason: Why, in one sentence.
        pack_seconds: How long all cores take to encode all images, or the disk to take them, whichever is longer.
        upload_seconds: How long the network takes for the result.
        max_shard_bytes: A fitting length of shards.
        overhead: Part of the plain tars that is headers and padding.
        compressed: By frame length, the bytes of shards compressed with zstd, relative to plain tars.
        frame_bytes: The frame length of those that pay; None if shards are better not compressed.
    """

    num_images: int
    num_tried: int
    damaged: dict[str, str]
    field: str
    train_size: int
    jobs: int
    place: str
    hardware: Hardware
    measured: list[Measured]
    skipped: dict[str, str]
    recommended: Measured
    reason: str
    pack_seconds: float
    upload_seconds: float
    max_shard_bytes: int
    overhead: float
    compressed: dict[int, float]
    frame_bytes: int | None

    def pack_options(self) -> list[str]:
        """Return the options of `shardpack pack` that follow the advice."""
        options = self.recommended.encoding.pack_options(self.field)
        if self.frame_bytes is not None:
            options += ["--compress", "shards=zstd:3", "--frame-bytes", f"{self.frame_bytes >> 10}KiB"]
        return [*options, "--max-shard-bytes", f"{self.max_shard_bytes >> 20}MiB"]


def encodings_for(train_size: int) -> list[Encoding]:
    """Return what is tried: images as they are first, then full size, then the size for training."""
    short, cover = f"short={round(train_size * MARGIN)}", f"cover={train_size}x{train_size}"
    lossy = ("jpg:q=90", "webp:q=85", "avif:q=75")
    return [
        Encoding(),
        *map(Encoding, lossy),
        Encoding("jxl"),
        Encoding("webp:lossless"),
        Encoding("png"),
        Encoding("npy"),
        Encoding("npy", compress="zstd:3"),
        Encoding("npz"),
        *(Encoding(codec, short) for codec in (*lossy, "png")),
        Encoding("npy:rgb", cover),
        Encoding("npy:rgb", cover, "zstd:3"),
        Encoding("npz", cover),
    ]


def advise(
    source: Listing | RowSource,
    hardware: Hardware,
    *,
    place: str = "disk",
    train_size: int = 224,
    lossless: bool = False,
    centre_crop: bool = False,
    samples: int = SAMPLES,
    seconds: float = SECONDS,
    jobs: int | None = None,
    encodings: Sequence[Encoding] | None = None,
    progress: Progress = no_progress,
) -> Advice:
    """Return which encoding pays for the images of a source.

    Reads the payloads of the samples that are drawn, at even distances. Takes about `seconds`. Images that do not
    decode are left out, and named.

    Args:
        source: All samples of the source, or its rows.
        hardware: What training runs on.
        place: Where the data will be: "disk", "bucket" or "memory".
        train_size: Height and width of the pixels that training takes.
        lossless: Recommend only what keeps every pixel, at full size.
        centre_crop: Training takes the centre of each image, so that nothing else need be stored.
        samples: How many images are tried at most.
        seconds: When no further image is begun.
        jobs: Processes for the figures of all cores; None: one per core.
        encodings: What is tried; None: `encodings_for`. The first must be images as they are.
        progress: Called as progress("try", images done, images drawn).

    Raises:
        SourceError: There are no images, or none of those that were drawn decodes.
    """
    jobs = jobs or usable_cores()
    draw = draw_evenly(source, samples) if isinstance(source, Listing) else draw_rows(source, samples)
    wanted = list(encodings or encodings_for(train_size))
    skipped = {one.name: reason for one in wanted if (reason := one.missing()) is not None}
    wanted = [one for one in wanted if one.name not in skipped]
    tasks = _tasks(draw, wanted, train_size)
    found_alone, found_together = _tried(tasks, jobs, seconds, progress)
    pairs = zip(tasks, found_together, strict=False)  # time may have ended it
    damaged = draw.unread | {task.name: one.reason for task, one in pairs if isinstance(one, Damaged)}
    alone, together = _sound(found_alone), _sound(found_together)
    if not together:
        raise SourceError(_none_tried(damaged))

    def epochs_of(image_bytes: float, decode_seconds: float) -> dict[str, Epoch]:
        return hardware.epochs(image_bytes + draw.other_bytes, decode_seconds, draw.num_images)

    measured = []
    for at, one in enumerate(wanted):
        found = [trials[at] for trials in (*alone, *together)]
        if unfit := next((trial for trial in found if isinstance(trial, Unfit)), None):
            skipped[one.name] = unfit.reason
            continue
        tried = [trial for trial in found if isinstance(trial, Trial)]
        own = tried[: len(alone)] or tried  # all that one process tried alone may be damaged
        measured.append(summary_of(one, own, tried[len(alone) :], min(jobs, usable_cores()), epochs_of))
    best, reason = recommend(measured, place, lossless=lossless, centre_crop=centre_crop)
    stored_bytes = draw.num_images * (best.num_bytes + draw.other_bytes)
    compressed = _compressed(draw)
    frame_bytes = _worth_compressing(compressed)
    return Advice(
        num_images=draw.num_images,
        num_tried=len(together),
        damaged=damaged,
        field=draw.samples[0].image,
        train_size=train_size,
        jobs=jobs,
        place=place,
        hardware=hardware,
        measured=measured,
        skipped=skipped,
        recommended=best,
        reason=reason,
        pack_seconds=max(best.encode_seconds_all * draw.num_images, stored_bytes / hardware.disk),
        upload_seconds=stored_bytes / hardware.network,
        max_shard_bytes=shard_bytes(stored_bytes),
        overhead=draw.overhead,
        compressed=compressed,
        frame_bytes=frame_bytes,
    )


def _none_tried(damaged: Mapping[str, str]) -> str:
    name, *others = sorted(damaged)
    also = ", ".join(["", *map(repr, others[:SHOWN])])
    more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
    reason = f"the first: {damaged[name]}; check the source"
    return f"none of the images that were drawn can be tried: {name!r}{also}{more}; {reason}"


EpochsOf = Callable[[float, float], dict[str, Epoch]]
Tried = list[Trial | Unfit]  # one image, by encoding
Found = list[Tried | Damaged]  # images


def _tasks(draw: Draw, encodings: Sequence[Encoding], train_size: int) -> list[TrialTask]:
    """Return the images in an order in which every beginning is spread over the source: time may end it anywhere."""
    order = permutation(len(draw.samples), derive_key(PACK_ORDER, 0)).tolist()
    drawn = [draw.samples[at] for at in order]
    return [TrialTask(one.name, one.image, one.payload, tuple(encodings), train_size) for one in drawn]


def _tried(tasks: Sequence[TrialTask], jobs: int, seconds: float, progress: Progress) -> tuple[Found, Found]:
    """Return the trials of a quarter of the images by one process alone, and of all by all processes together."""
    began = time.perf_counter()
    report = partial(progress, "try")
    first = tasks[: max(FEWEST, len(tasks) // ALONE)]
    alone = _run(IN_PROCESS, first, began + seconds / ALONE, lambda done: report(done, len(tasks)))
    if jobs == 1:
        rest = tasks[len(alone) :]
        return alone, alone + _run(
            IN_PROCESS, rest, began + seconds, lambda done: report(len(alone) + done, len(tasks))
        )
    with start_workers(jobs) as engine:
        return alone, _run(engine, tasks, began + seconds, lambda done: report(done, len(tasks)))


def _run(engine: Engine, tasks: Iterable[TrialTask], deadline: float, done: Callable[[int], None]) -> Found:
    """Return the trials of the tasks that begin before the deadline, and of two in any case."""

    def in_time() -> Iterator[TrialTask]:
        for number, task in enumerate(tasks):
            if number >= FEWEST and time.perf_counter() > deadline:
                return
            yield task

    found = []
    with closing(engine.map(run_trials, in_time(), in_order=True)) as results:
        for number, (_, trials) in enumerate(results, start=1):
            found.append(trials)
            done(number)
    return found


def _sound(found: Found) -> list[Tried]:
    return [one for one in found if not isinstance(one, Damaged)]


def summary_of(
    encoding: Encoding, alone: Sequence[Trial], together: Sequence[Trial], cores: int, epochs_of: EpochsOf
) -> Measured:
    """Return the mean bytes and seconds of an encoding's trials, and its epochs.

    With all cores at work each of them is slower, as they share memory and caches. That shows in the processor time.
    """
    num_bytes = _mean(trial.num_bytes for trial in together)
    decode_seconds = _mean(trial.decode_seconds for trial in together) / cores
    squared_error = sum(trial.squared_error for trial in together)
    num_values = sum(trial.num_values for trial in together)
    return Measured(
        encoding=encoding,
        images=len(together),
        kept=sum(trial.is_kept for trial in together),
        num_bytes=num_bytes,
        encode_seconds=_mean(trial.encode_seconds for trial in alone),
        decode_seconds=_mean(trial.decode_seconds for trial in alone),
        encode_seconds_all=_mean(trial.encode_seconds for trial in together) / cores,
        decode_seconds_all=decode_seconds,
        psnr=10 * math.log10(255**2 * num_values / squared_error) if squared_error else None,
        epochs=epochs_of(num_bytes, decode_seconds),
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _compressed(draw: Draw) -> dict[int, float]:
    """Return what shards of the drawn samples take compressed, relative to plain ones, by frame length."""
    sizes = []
    for frame_bytes in (None, *FRAME_BYTES):
        store = MemoryStore({})
        compress = None if frame_bytes is None else {"shards": "zstd:3"}
        try:
            with ShardWriter(store, max_shard_bytes=1 << 40, compress=compress, frame_bytes=frame_bytes) as writer:
                for number, sample in enumerate(draw.samples):
                    writer.write(f"{number:08d}", sample.fields)
        except MissingDependencyError:
            return {}
        sizes.append(sum(store.size(name) for name in store.names() if not name.startswith(".")))
    return dict(zip(FRAME_BYTES, (size / sizes[0] for size in sizes[1:]), strict=True))


def _worth_compressing(compressed: dict[int, float]) -> int | None:
    """Return the frame length that pays: the larger one only if it saves clearly more; None if none does."""
    if not compressed or min(compressed.values()) > WORTH_COMPRESSING:
        return None
    small, large = FRAME_BYTES
    return large if compressed[large] < WORTH_LARGER_FRAMES * compressed[small] else small
