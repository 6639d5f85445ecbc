"""`Loader`: decoded, stacked batches of a stream, in its exact order for any number of threads.

    one thread       stream.steps --> samples of a step --> `BatchBuilder`, cut into tasks
                     of arrays in maps: stream.mapped_steps --> `ArrayBatch`, likewise
    other threads    decode and transform; the last task of a step stacks the batch
    consumer         takes the batches in order; meanwhile `prefetch` more are built

No thread waits for the consumer: a step is read when the consumer has taken an earlier batch. So at most
prefetch + 2 batches are in memory, and an iterator that is dropped, or still open at the end of the program,
leaves no thread that hangs.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

from shardpack.codecs.decode import ArrayDecoder, ImageDecoder
from shardpack.errors import OptionError
from shardpack.order.options import Shuffle
from shardpack.order.partitions import RankSlice
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer, one_of
from shardpack.runtime.cores import usable_cores
from shardpack.runtime.threads import DaemonThreads, Threads
from shardpack.stream.array_batch import ArrayBatch, array_batch, has_only_arrays
from shardpack.stream.batch_builder import BatchBuilder, BatchSpec
from shardpack.stream.batch_memory import BatchMemory
from shardpack.stream.mapped_steps import MappedStep
from shardpack.stream.options import LoaderOptions
from shardpack.stream.reader import Taken

Batch = dict[str, Any]
Builder = BatchBuilder | ArrayBatch

MAX_DEFAULT_THREADS = 8  # more gain little: between images, the interpreter runs one thread at a time
MAX_TASK_SAMPLES = 8  # per task: so few that threads share a batch evenly
KEPT_REASONS = 20  # of skipped samples


class Steps(Protocol):
    """The part of a stream that a loader uses."""

    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def shuffle(self) -> Shuffle: ...
    @property
    def rank_slice(self) -> RankSlice: ...
    @property
    def epoch(self) -> int: ...
    @property
    def resume_at(self) -> int: ...
    def set_epoch(self, epoch: int) -> None: ...
    def rewind(self) -> None: ...
    def steps(self, first: int = 0, *, views: bool = False) -> Generator[list[Sample], None, None]: ...
    def mapped_steps(self, first: int) -> Iterator[MappedStep]: ...
    def state_at(self, rank_samples: int) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@dataclass(frozen=True, slots=True)
class Skipped:
    """The bad samples that a loader with `on_error="skip"` has skipped, in the batches handed out.

    Attributes:
        num_samples: Number of bad samples.
        first: (key, reason) of the first of them.
    """

    num_samples: int = 0
    first: tuple[tuple[str, str], ...] = ()

    def plus(self, more: Sequence[tuple[str, str]]) -> Skipped:
        """Return these and more bad samples."""
        num_missing = KEPT_REASONS - len(self.first)
        return Skipped(self.num_samples + len(more), (*self.first, *more[:num_missing]))


class Loader:
    """An iterable over batches, each a dict from field to array or list; made by `Dataset.loader` and `Stream.loader`.

    Iterating again repeats the epoch, until `set_epoch`. `state_dict` counts the batches handed out, not those
    being built. The threads of an iterator end when it is exhausted, dropped or closed, also by an exception.

    Attributes:
        skipped: How many bad samples were left out or replaced, and why.
        undecoded: Names of the fields that stay bytes, because nothing decodes them or it was not asked for.
    """

    def __init__(self, stream: Steps, options: LoaderOptions) -> None:
        decoders, self._images = options.decoders(stream.fields), options.images()
        transform, threads, prefetch = options.transform, options.threads, options.prefetch
        self._on_error = one_of("on_error", options.on_error, ("raise", "skip"))
        if transform is not None and not callable(transform):
            raise OptionError(f"transform is {transform!r}, expected a function from fields to fields")
        self._stream, self._decoders = stream, decoders
        self._transform, self._drop_last = transform, options.drop_last
        self._threads = (
            min(usable_cores(), MAX_DEFAULT_THREADS) if threads is None else as_integer("threads", threads, minimum=1)
        )
        batch_size = stream.rank_slice.batch_size
        enough = max(2, -(-2 * self._threads // batch_size))
        self._prefetch = enough if prefetch is None else as_integer("prefetch", prefetch, minimum=1)
        self._task_samples = self._samples_per_task(batch_size)
        self._memory = BatchMemory(max_idle=self._prefetch + 2)
        self._progress = Taken(stream.resume_at)  # of the newest iterator
        self.skipped = Skipped()
        self.undecoded = tuple(field for field in stream.fields if field not in decoders)

    def _samples_per_task(self, batch_size: int) -> int:
        """Return how many samples a thread decodes before it looks for more work.

        Arrays are only copied, which takes a thread less time than to be woken up: each thread copies its part of a
        batch at once.
        """
        decoders = self._decoders.values()
        arrays_only = any(isinstance(decode, ArrayDecoder) for decode in decoders) and not any(
            isinstance(decode, ImageDecoder) for decode in decoders
        )
        if arrays_only and self._transform is None:
            return -(-batch_size // self._threads)
        return max(1, min(MAX_TASK_SAMPLES, batch_size // (2 * self._threads)))

    def __len__(self) -> int:
        """Return the number of batches of this rank in an epoch: the same for all ranks, except with tail="exact"."""
        ours = self._stream.rank_slice
        return ours.partitioning.full_steps if self._drop_last else ours.num_steps

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._stream.epoch

    @property
    def batch_size(self) -> int:
        """Samples per batch of this rank."""
        return self._stream.rank_slice.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; see `Stream.set_epoch`."""
        before = self.epoch
        self._stream.set_epoch(epoch)
        if self.epoch != before:
            self._progress = Taken(0)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the batches of the newest iterator; valid for every rank, and for streams.

        Before the first iterator, and after `set_epoch` or `load_state_dict`: the state where the next one begins.
        """
        return self._stream.state_at(self._progress.taken)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken; see `Stream.load_state_dict`.

        The state of a stream may be in the middle of a batch: the first batch is then the rest of it.

        Raises:
            OptionError: The state belongs to other data or options. The loader is unchanged.
        """
        self._stream.load_state_dict(state)
        self._progress = Taken(self._stream.resume_at)

    def __iter__(self) -> Iterator[Batch]:
        stream, ours, begin = self._stream, self._stream.rank_slice, self._stream.resume_at
        first = begin // ours.batch_size
        # Arrays are copied once, from the map into the batch, by the threads that decode.
        views = any(isinstance(decode, ArrayDecoder) for decode in self._decoders.values())
        progress = self._progress = Taken(begin)
        spec = BatchSpec(
            stream.fields,
            self._decoders,
            self._transform,
            skip=self._on_error == "skip",
            replace=ours.partitioning.tail != "exact",
            seed=stream.shuffle.seed,
            epoch=self.epoch,
            images=self._images,
            empty=self._memory.empty,
        )
        now = copy(stream)  # is read later, and must not follow `set_epoch`
        builders = _builders(now, spec, first, begin % ours.batch_size, views=views)
        stream.rewind()
        over = begin >= len(ours)  # the last step may be empty here, while other ranks have more
        return self._batches(builders, progress, range(0) if over else range(first, len(self)))

    def _batches(self, builders: Generator[Builder, None, None], progress: Taken, numbers: range) -> Iterator[Batch]:
        size = self.batch_size
        end = len(self._stream.rank_slice)
        waiting = iter(numbers)
        under_way: deque[Future[Future[tuple[Batch, Builder]]]] = deque()
        with (
            closing(builders),
            DaemonThreads(self._threads, purpose="decode") as decoders,
            Threads(1, purpose="read") as reader,
        ):

            def start() -> Future[tuple[Batch, Builder]]:
                return self._start(next(builders), decoders)

            for number in numbers:
                while len(under_way) <= self._prefetch and next(waiting, None) is not None:
                    under_way.append(reader.start(start))
                batch, builder = under_way.popleft().result().result()
                progress.taken = min((number + 1) * size, end)
                if builder.skipped:
                    self.skipped = self.skipped.plus(builder.skipped)
                del builder
                yield batch
                del batch

    def _start(self, builder: Builder, threads: DaemonThreads) -> Future[tuple[Batch, Builder]]:
        """Let the threads build a batch; the thread that builds its last part stacks it."""
        count, step = len(builder), self._task_samples
        firsts = range(0, count, step) or range(1)
        done: Future[tuple[Batch, Builder]] = Future()
        lock, left = threading.Lock(), [len(firsts)]

        def build(first: int) -> None:
            try:
                builder.build_items(range(first, min(first + step, count)))
                with lock:
                    left[0] -= 1
                    if left[0]:
                        return
                done.set_result((builder.build(), builder))
            except BaseException as error:  # noqa: BLE001 -- raised in the consumer's thread
                with suppress(InvalidStateError):  # another part has failed already
                    done.set_exception(error)

        for first in firsts:
            threads.start(build, first)
        return done


def _builders(
    stream: Steps, spec: BatchSpec, first: int, left_out: int, *, views: bool
) -> Generator[Builder, None, None]:
    """Yield what builds the batch of each step from number `first` on, of which the first samples are left out."""
    if has_only_arrays(spec):
        for step in stream.mapped_steps(first):
            builder = array_batch(spec, step.without(left_out) if left_out else step)
            if builder is None:
                break
            yield builder
            first, left_out = first + 1, 0
    with closing(stream.steps(first, views=views)) as steps:
        for samples in steps:
            del samples[:left_out]
            left_out = 0
            yield BatchBuilder(spec, [*samples])
