"""`Loader`: decoded, stacked batches of a stream, in its exact order whatever the number of threads.

    one thread       stream.steps --> samples of a step --> Assembly, cut into tasks
    some threads     tasks: decode, transform; the last one of a step stacks the batch
    consumer         takes the batches in order; while it works, `prefetch` others are in the making

Nothing waits for the consumer: a step is read when the consumer has taken an earlier batch. So
memory is bounded by prefetch + 2 batches, and an iterator that is dropped, or forgotten at the end
of the program, leaves nothing that hangs.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shardpack.codecs.decode import Decoder, field_decoders
from shardpack.codecs.image import PictureOptions, as_pair
from shardpack.errors import OptionError
from shardpack.order.epoch import DEFAULT_BLOCK_BYTES, DEFAULT_WINDOW_BLOCKS
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer
from shardpack.stream.batch_builder import Assembly, Recipe, Transform
from shardpack.stream.stream import Stream

if TYPE_CHECKING:
    from shardpack.dataset import Dataset

Batch = dict[str, Any]

MAX_DEFAULT_THREADS = 8  # more gain little: the interpreter runs one of them at a time between pictures
MAX_TASK_SAMPLES = 8  # in one task of a thread: few enough to share a batch evenly
KEPT_REASONS = 20


@dataclass(frozen=True, slots=True)
class Skipped:
    """Bad samples that a loader with `on_error="skip"` has passed over, in batches handed out.

    Attributes:
        num_samples: How many.
        first: (key, reason) of the first few.
    """

    num_samples: int = 0
    first: tuple[tuple[str, str], ...] = ()

    def plus(self, more: Sequence[tuple[str, str]]) -> Skipped:
        """Return the sum."""
        room = KEPT_REASONS - len(self.first)
        return Skipped(self.num_samples + len(more), (*self.first, *more[:room]))


class Loader:
    """An iterable over batches, each a dict from field to array or list; made by `Dataset.loader`.

    Iterating again gives the same epoch again, until `set_epoch`. `state_dict` counts the batches
    handed out, not those in the making. Threads live as long as an iterator: they end when it is
    exhausted, dropped or closed, also by an exception.

    Attributes:
        skipped: `Skipped`: how many bad samples were passed over, and why.
    """

    def __init__(
        self,
        stream: Stream,
        fields: tuple[str, ...],
        decoders: Mapping[str, Decoder],
        *,
        transform: Transform | None = None,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: str = "raise",
        drop_last: bool = False,
    ) -> None:
        if on_error not in ("raise", "skip"):
            raise OptionError(f"on_error is {on_error!r}; choose 'raise' or 'skip'")
        if transform is not None and not callable(transform):
            raise OptionError(f"transform is {transform!r}, expected a function from fields to fields")
        self._stream, self._fields, self._decoders = stream, fields, decoders
        self._transform, self._on_error, self._drop_last = transform, on_error, drop_last
        self._threads = _usable_cpus() if threads is None else as_integer("threads", threads, minimum=1)
        batch_size = stream.batch_size
        enough = max(2, -(-2 * self._threads // batch_size))
        self._prefetch = enough if prefetch is None else as_integer("prefetch", prefetch, minimum=1)
        self._task_samples = max(1, min(MAX_TASK_SAMPLES, batch_size // (2 * self._threads)))
        self._taken = 0  # samples in the batches that the newest iterator has handed out, and before its start
        self.skipped = Skipped()

    def __len__(self) -> int:
        """Return how many batches this rank gets in an epoch; the same for all ranks, but see `tail`."""
        return self._stream._share.deal.full_steps if self._drop_last else self._stream.num_steps

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return self._stream.epoch

    @property
    def batch_size(self) -> int:
        """Samples in a batch of this rank."""
        return self._stream.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; see `Stream.set_epoch`."""
        before = self.epoch
        self._stream.set_epoch(epoch)
        if self.epoch != before:
            self._taken = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what follows the batches handed out, as `Stream.state_dict`: valid for every rank, and for streams."""
        return self._stream.state_at(self._taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken; see `Stream.load_state_dict`.

        A state of a stream may lie within a batch: the first one is then what is left of it.

        Raises:
            OptionError: The state is of other data or options; nothing of it is applied then.
        """
        self._stream.load_state_dict(state)
        self._taken = self._stream.resume_at

    def __iter__(self) -> Iterator[Batch]:
        first, begin = self._stream.resume_step, self._stream.resume_at
        steps = self._stream.steps(first)
        self._stream.rewind()
        self._taken = begin
        recipe = Recipe(
            self._fields,
            self._decoders,
            self._transform,
            skip=self._on_error == "skip",
            replace=self._stream._share.deal.tail != "exact",
            seed=self._stream._shuffle.seed,
            epoch=self.epoch,
        )
        over = begin >= len(self._stream)  # a step may be left out as a whole: its other ranks have more
        return self._batches(recipe, steps, begin, range(0) if over else range(first, len(self)))

    def _batches(self, recipe: Recipe, steps: Iterator[list[Sample]], begin: int, numbers: range) -> Iterator[Batch]:
        size, left_out = self.batch_size, begin % self.batch_size
        end = len(self._stream)
        waiting = iter(numbers)
        in_the_making: deque[Future[Future[tuple[Batch, Assembly]]]] = deque()
        with _threads(self._threads, "decode") as decoders, _threads(1, "read") as reader:

            def start(number: int) -> Future[tuple[Batch, Assembly]]:
                samples = next(steps)
                if number == numbers.start:
                    del samples[:left_out]
                return self._start(Assembly(recipe, [*samples]), decoders)

            for number in numbers:
                while len(in_the_making) <= self._prefetch and (following := next(waiting, None)) is not None:
                    in_the_making.append(reader.submit(start, following))
                batch, assembly = in_the_making.popleft().result().result()
                self._taken = min((number + 1) * size, end)
                if assembly.skipped:
                    self.skipped = self.skipped.plus(assembly.skipped)
                del assembly
                yield batch
                del batch

    def _start(self, assembly: Assembly, pool: ThreadPoolExecutor) -> Future[tuple[Batch, Assembly]]:
        """Let the threads make a batch; whoever makes its last part stacks it."""
        count, step = len(assembly.samples), self._task_samples
        firsts = range(0, count, step) or range(1)
        done: Future[tuple[Batch, Assembly]] = Future()
        lock, left = threading.Lock(), [len(firsts)]

        def make(first: int) -> None:
            try:
                for i in range(first, min(first + step, count)):
                    assembly.make(i)
                with lock:
                    left[0] -= 1
                    if left[0]:
                        return
                done.set_result((assembly.finish(), assembly))
            except BaseException as error:  # noqa: BLE001 -- the consumer raises it
                with suppress(InvalidStateError):  # another part has failed already
                    done.set_exception(error)

        for first in firsts:
            pool.submit(make, first)
        return done


def open_loader(
    dataset: Dataset,
    batch_size: int,
    *,
    decode: str | Mapping[str, str | Decoder | None] | None = None,
    size: int | tuple[int, int] | None = None,
    min_size: int | tuple[int, int] | None = None,
    reduced: bool = True,
    exif_transpose: bool = False,
    fast_jpeg: bool = True,
    transform: Transform | None = None,
    threads: int | None = None,
    prefetch: int | None = None,
    on_error: str = "raise",
    drop_last: bool = False,
    fields: Sequence[str] | None = None,
    shuffle: str | bool = "none",
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    tail: str = "pad",
    partitions: int | None = None,
    block_bytes: int | str = DEFAULT_BLOCK_BYTES,
    window_blocks: int = DEFAULT_WINDOW_BLOCKS,
) -> Loader:
    """Return an iterable over decoded batches: threads read, decode, transform and stack ahead of you.

    A batch is a dict: `"__key__"`, a list of keys, and the fields. Arrays, tensors and numbers that
    are alike become one contiguous array (`cls`: int64); anything else a list, None where a sample
    lacks the field. Order, ranks and resuming are those of `stream`.

    Args:
        batch_size: Samples in a batch of this rank.
        decode: None leaves bytes. A name of webdataset's for all pictures: "rgb8" (uint8 H x W x 3),
            "rgb" (float32, 0..1), "torchrgb" (tensor 3 x H x W), "pil" (the mode as stored), and
            "l8", "rgba8" and so on. Or a mapping from field to such a name, to a function of the
            payload, or to None. Labels (json, txt, cls, npy) are then decoded too.
        size: (height, width), or one number, to resize pictures to; decoded straight into the batch.
        min_size: Leave pictures larger than this: for a transform that crops.
        reduced: Let JPEGs be decoded at a half, a quarter, an eighth where `size` or `min_size` allow.
        exif_transpose: Turn pictures as their EXIF data say; left as stored by default.
        fast_jpeg: Use simplejpeg (the extra fast-jpeg) if it is installed.
        transform: Function of one sample's decoded fields, a dict with "__key__" and "__seed__" (the
            same in every run, for random numbers) to the dict that is stacked. Runs in threads.
        threads: That decode; by default as many as CPUs, at most 8. One more reads.
        prefetch: Batches made ahead of the one you hold; 2 by default, more for very small ones.
        on_error: "raise" a DecodeError that names the sample; or "skip" it, and count it in `skipped`:
            its place is taken by the next good sample of the batch, so that ranks stay equal (with
            tail="exact" the batch is shorter). A transform may raise DecodeError to reject a sample.
        drop_last: Leave out a last batch that is shorter.
        fields: Read only these.
        shuffle, seed, rank, world_size, tail, partitions, block_bytes, window_blocks: See `stream`.

    Raises:
        OptionError: An option is out of range, or they do not fit together.
        FieldNotFoundError: No sample of the dataset has this field.
        MissingDependencyError: The decoding name needs torch, which is not installed.
    """
    stream = dataset.stream(
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
        batch_size=as_integer("batch_size", batch_size, minimum=1),
        tail=tail,
        partitions=partitions,
        block_bytes=block_bytes,
        window_blocks=window_blocks,
        fields=fields,
    )
    names = dataset.fields if fields is None else dataset._checked_fields(fields)
    pictures = PictureOptions(
        size=as_pair("size", size),
        min_size=as_pair("min_size", min_size),
        reduced=reduced,
        exif_transpose=exif_transpose,
        fast_jpeg=fast_jpeg,
    )
    return Loader(
        stream,
        names,
        field_decoders(names, decode, pictures),
        transform=transform,
        threads=threads,
        prefetch=prefetch,
        on_error=on_error,
        drop_last=drop_last,
    )


@contextmanager
def _threads(count: int, purpose: str) -> Iterator[ThreadPoolExecutor]:
    """Yield threads; at the end, for whatever reason, drop what they have not begun and join them."""
    pool = ThreadPoolExecutor(count, thread_name_prefix=f"shardpack-{purpose}")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _usable_cpus() -> int:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, MAX_DEFAULT_THREADS)
