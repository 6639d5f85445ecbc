"""`WorkerShares`: a stream whose steps are divided among the worker processes of a DataLoader.

    main process    set_epoch, load_state_dict --`Shared`--> every worker, including persistent ones
    worker k of K   steps first + k, first + k + K, ...; a DataLoader takes from its workers in turn,
                    so that it yields the steps of the stream in order

Used by the PyTorch and the webdataset edge, and independent of both: the caller tells how to find the worker.
"""

from __future__ import annotations

import ctypes
import multiprocessing.context
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from multiprocessing.sharedctypes import RawValue
from typing import Any

from shardpack.errors import OptionError
from shardpack.read.sample import Sample
from shardpack.stream.reader import Taken
from shardpack.stream.stream import Stream

MAX_WORKERS = 4096
_PER_WORKER = -1


class Shared(ctypes.Structure):
    """Memory shared by all processes of a DataLoader. No lock: a number has one writer, or all write the same value.

    Attributes:
        epoch, partitions, global_batch, window_blocks: The order. Written by the main process, between iterations.
        resume_at: Samples before the point where the next iteration begins. Written by the main process.
        began_at: Samples before the point where the newest iteration began, or `_PER_WORKER` if each worker had
            a state of its own. Written by the processes that iterate.
        whole_steps: Whether the newest iteration yields steps, the first of which may be the rest of a step, or
            samples, which a DataLoader puts into batches. Written by the processes that iterate.
        used_by: The iteration of workers that starts at `resume_at`, the first since the main process wrote;
            0 for none. Written by the workers.
        has_used: Whether worker k has started at `resume_at`. Written by worker k.
    """

    _fields_ = (
        ("epoch", ctypes.c_int64),
        ("partitions", ctypes.c_int64),
        ("global_batch", ctypes.c_int64),
        ("window_blocks", ctypes.c_int64),
        ("resume_at", ctypes.c_int64),
        ("began_at", ctypes.c_int64),
        ("whole_steps", ctypes.c_bool),
        ("used_by", ctypes.c_int64),
        ("has_used", ctypes.c_uint8 * MAX_WORKERS),
    )
    epoch: int
    partitions: int
    global_batch: int
    window_blocks: int
    resume_at: int
    began_at: int
    whole_steps: bool
    used_by: int
    has_used: ctypes.Array[ctypes.c_uint8]


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process of a DataLoader.

    Attributes:
        number, of: Number of the worker, from 0, and how many there are.
        iteration: Any number that is the same in all workers started together.
    """

    number: int
    of: int
    iteration: int

    @property
    def together(self) -> int:
        """A number that workers of the same iteration have in common; never 0."""
        return hash((self.iteration, self.of)) >> 1 | 1


class WorkerShares:
    """One rank's stream for a DataLoader: divided among its workers, and resumable.

    Pickles. Copies that a DataLoader passes to its workers, by any start method, stay connected to this object;
    other copies begin in the same state and are independent.

    Args:
        make_stream: Returns the same stream every time; pickles, such as a `functools.partial`.
        find_worker: Returns the worker of this process, or None in the main process; a plain function.
        shared: The memory of another object, to stay connected to it.

    Attributes:
        make_stream: The function that was passed.
        shared: The state that was passed, or a new one.
        stream: The stream of this process.
    """

    def __init__(
        self,
        make_stream: Callable[[], Stream],
        find_worker: Callable[[], Worker | None],
        shared: Shared | None = None,
    ) -> None:
        self.make_stream, self._find_worker = make_stream, find_worker
        self.stream = make_stream()
        self._progress = Taken(0)  # of the newest iterator of this process
        self._own: int | None = None  # where this worker begins, from a state of its own
        self._epoch_after: int | None = None
        if shared is None:
            self.shared = RawValue(Shared)
            self._publish()
        else:
            self.shared = shared
            self._follow()

    def __reduce__(self) -> tuple[Any, ...]:
        if multiprocessing.context.get_spawning_popen() is None:  # not for a worker: memory cannot be passed on
            return _copied, (self.make_stream, self._find_worker, bytes(self.shared))
        return WorkerShares, (self.make_stream, self._find_worker, self.shared)

    # In the main process

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self.shared.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, also in running workers; see `Stream.set_epoch`."""
        self._epoch_after = None
        before = self.stream.epoch
        self.stream.set_epoch(epoch)
        if self.stream.epoch != before or self.shared.epoch != before:
            self.stream.rewind()
            self._publish()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken; as `Stream.load_state_dict`, for any number of workers.

        A worker takes states of its own, and all states of main processes.

        Raises:
            OptionError: The state belongs to other data or options, or to another worker.
        """
        worker = self._find_worker()
        if worker is None:
            if isinstance(state, Mapping) and "worker" in state:
                raise OptionError(
                    "this is the state of one DataLoader worker; load it with the StatefulDataLoader that gave it"
                )
            epoch = self.shared.epoch
            self.stream.load_state_dict(state)
            # A StatefulDataLoader loads the end of an epoch late, after set_epoch, and starts the next epoch at once.
            self._epoch_after = epoch if self.stream.resume_at >= len(self.stream) else None
            self._publish()
            return
        if isinstance(state, Mapping) and "worker" in state:
            given = (state["worker"], state.get("num_workers"))
            if given != (worker.number, worker.of):
                raise OptionError(
                    f"state is of worker {given[0]} of {given[1]}, this is {worker.number} of {worker.of}"
                )
            self.stream.load_state_dict(state.get("stream", {}))
            self._own = self.stream.resume_at
        else:
            self.stream.load_state_dict(state)
            self._own = self._first_of(worker, self.stream.resume_at)
        self._progress = Taken(self._own)

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iterator of this process is.

        Raises:
            OptionError: Workers are reading, so that only their consumer knows what it has seen.
        """
        worker = self._find_worker()
        if worker is not None:
            state = self.stream.state_at(self._progress.taken)
            return {"worker": worker.number, "num_workers": worker.of, "stream": state}
        if self.shared.used_by:
            raise OptionError(
                "DataLoader workers read ahead of what you have seen; "
                "call state_after(number of batches you took), or use torchdata's StatefulDataLoader"
            )
        return self.stream.state_at(self._progress.taken)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state after the consumer has seen `num_batches` batches of the newest iteration.

        Raises:
            OptionError: The iteration has fewer batches, the stream has no batch size, or each worker has a
                state of its own.
        """
        began, size = self.shared.began_at, self.stream.batch_size
        if not self.stream.has_batch_size:
            raise OptionError("to count in batches, the dataset must know their size; give it batch_size")
        if began == _PER_WORKER:
            raise OptionError("a StatefulDataLoader keeps this state; take its state_dict()")
        # Steps end at multiples of their size, wherever the first one began; batches made by a DataLoader do not.
        first = began - began % size if self.shared.whole_steps else began
        most = -(-(len(self.stream) - first) // size) if began < len(self.stream) else 0
        if not 0 <= num_batches <= most:
            raise OptionError(
                f"num_batches is {num_batches}, but the iteration has {most} batches of {size}; "
                "count from its beginning, and give the DataLoader the batch_size of the dataset"
            )
        return self.stream.state_at(first + num_batches * size if num_batches else began)

    # In any process

    def samples(self) -> Iterator[Sample]:
        """Return an iterator over the samples of this process's steps."""
        return self._samples(*self._begin())

    def steps(self) -> Iterator[list[Sample]]:
        """Return an iterator over the steps of this process."""
        return self._steps(*self._begin(whole_steps=True))

    def _samples(self, worker: Worker, progress: Taken) -> Iterator[Sample]:
        for number, skip, step in self._numbered(worker, progress.taken):
            start = number * self.stream.batch_size
            for taken, sample in enumerate(step[skip:], start=skip + 1):
                progress.taken = self._after(worker, number) if taken == len(step) else start + taken
                yield sample

    def _steps(self, worker: Worker, progress: Taken) -> Iterator[list[Sample]]:
        for number, skip, step in self._numbered(worker, progress.taken):
            progress.taken = self._after(worker, number)
            yield step[skip:]

    def _numbered(self, worker: Worker, begin: int) -> Iterator[tuple[int, int, list[Sample]]]:
        """Yield (number of the step, how many of its first samples to leave out, the step)."""
        if begin >= len(self.stream):
            return
        first, skip = divmod(begin, self.stream.batch_size)
        steps = self.stream.steps(first, stride=worker.of)
        for number, step in zip(count(first, worker.of), steps):
            yield number, skip, step
            skip = 0

    def _after(self, worker: Worker, step: int) -> int:
        return (step + worker.of) * self.stream.batch_size

    def _begin(self, *, whole_steps: bool = False) -> tuple[Worker, Taken]:
        """Return this worker and where it begins; must be called at `iter`, not at the first `next`."""
        worker, shared = self._find_worker(), self.shared
        shared.whole_steps = whole_steps
        if worker is None:
            worker, begin = Worker(0, 1, 0), self._begin_alone()
        elif self._own is not None:  # from a state with an epoch of its own
            begin, self._own = self._own, None
            shared.began_at = _PER_WORKER
            shared.used_by = shared.used_by or worker.together
        else:
            begin = self._begin_with_others(worker)
        self._progress = Taken(begin)
        return worker, self._progress

    def _begin_alone(self) -> int:
        """Return where an iteration in the main process begins."""
        shared = self.shared
        self._follow()
        begin = 0 if shared.used_by else shared.resume_at
        shared.resume_at = shared.used_by = 0
        shared.began_at = begin
        if self._epoch_after is not None:
            shared.epoch, self._epoch_after = self._epoch_after, None
        return begin

    def _begin_with_others(self, worker: Worker) -> int:
        """Return where a worker begins: behind the state, in the first iteration since the main process wrote one."""
        if worker.of > MAX_WORKERS:
            raise OptionError(f"a DataLoader of {worker.of} workers; choose at most {MAX_WORKERS}")
        shared = self.shared
        self._follow()
        is_first = not shared.has_used[worker.number] and shared.used_by in {0, worker.together}
        resumed = shared.resume_at if is_first else 0
        begin = self._first_of(worker, resumed)
        shared.used_by = shared.used_by or worker.together
        shared.has_used[worker.number] = True
        shared.began_at = resumed
        return begin

    def _first_of(self, worker: Worker, begin: int) -> int:
        """Return where a worker begins if the epoch resumes after `begin` samples."""
        size = self.stream.batch_size
        if begin % size and worker.of > 1 and begin < len(self.stream):
            raise OptionError(
                f"state was taken within a step ({begin % size} of {size} samples), which workers cannot share; "
                "take states between batches, or resume with num_workers=0"
            )
        return begin + worker.number * size

    def _publish(self) -> None:
        """Write the options of this process to the shared memory."""
        shared, partitioning = self.shared, self.stream.rank_slice.partitioning
        shared.epoch, shared.window_blocks = self.stream.epoch, self.stream.shuffle.window_blocks
        shared.partitions, shared.global_batch = partitioning.partitions, partitioning.global_batch
        shared.resume_at = shared.began_at = self.stream.resume_at
        self._progress = Taken(self.stream.resume_at)
        shared.used_by = 0
        ctypes.memset(shared.has_used, 0, MAX_WORKERS)

    def _follow(self) -> None:
        """Apply the options in the shared memory."""
        names = ("epoch", "partitions", "global_batch", "window_blocks")
        chosen = {name: getattr(self.shared, name) for name in names}
        self.stream.load_state_dict({**self.stream.state_at(0), **chosen, "rank_samples": 0})


def _copied(
    make_stream: Callable[[], Stream], find_worker: Callable[[], Worker | None], numbers: bytes
) -> WorkerShares:
    """Return a copy in the same state, with memory of its own."""
    shared = RawValue(Shared)
    ctypes.memmove(ctypes.byref(shared), numbers, ctypes.sizeof(Shared))
    return WorkerShares(make_stream, find_worker, shared)
