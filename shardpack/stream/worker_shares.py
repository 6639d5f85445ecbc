"""`SplitStream`: a stream whose steps are dealt out to the worker processes of a DataLoader.

    main process    set_epoch, load_state_dict --shared numbers--> every worker, persistent ones too
    worker k of K   steps first + k, first + k + K, ...; a DataLoader takes from its workers in turn,
                    so that what comes out of it are the stream's steps, in order

What the PyTorch and the webdataset edge share; knows neither. How to find the worker is handed in.
"""

from __future__ import annotations

import multiprocessing.context
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from multiprocessing.sharedctypes import RawArray
from typing import Any

from shardpack.errors import OptionError
from shardpack.read.sample import Sample
from shardpack.stream.stream import Stream

# The shared numbers. The main process writes the first five, between iterations; workers the last two, all the same.
_EPOCH, _PARTITIONS, _GLOBAL_BATCH = 0, 1, 2
_RESUME = 3  # samples that the next iteration leaves out
_LOADS = 4  # how often a state was loaded: persistent workers take each once
_BEGAN = 5  # samples that the newest iteration left out; _PER_WORKER if each worker had a state of its own
_USED_BY = 6  # which iteration of workers, the first since main wrote, used _RESUME up; 0 for none
_PER_WORKER = -1


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process of a DataLoader.

    Attributes:
        number, of: Worker `number` of `of`.
        iteration: Any number, the same in all workers that were started together.
    """

    number: int
    of: int
    iteration: int


class SplitStream:
    """One rank's stream for a DataLoader: shared with its workers, resumable, exact in all of them.

    Pickles; what a DataLoader passes to its workers, by any start method, stays connected to this
    one. Other copies begin as this one is and go their own way.

    Args:
        make_stream: Returns the stream, the same every time; pickles, such as a `functools.partial`.
        find_worker: Returns this process's worker, or None in the main process; a plain function.
        counts_batches: Whether the stream was told a batch size, so that `state_after` makes sense.
    """

    def __init__(
        self, make_stream: Callable[[], Stream], find_worker: Callable[[], Worker | None], *, counts_batches: bool
    ) -> None:
        self._make_stream, self._find_worker, self._counts_batches = make_stream, find_worker, counts_batches
        self.stream = make_stream()
        self._shared = RawArray("q", 7)
        self._publish()
        self._next = 0  # samples before the one that comes next, here
        self._own: int | None = None  # where this worker alone begins
        self._taken_loads = 0
        self._epoch_after: int | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["stream"]
        if multiprocessing.context.get_spawning_popen() is None:  # no worker in the making: shared memory cannot go
            state["_shared"] = list(self._shared)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self._shared, list):
            self._shared = RawArray("q", self._shared)
        self.stream = self._make_stream()
        self._follow()

    # In the main process

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return int(self._shared[_EPOCH])

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, in workers that are already running too; see `Stream.set_epoch`."""
        self._epoch_after = None
        before = self.stream.epoch
        self.stream.set_epoch(epoch)
        if self.stream.epoch != before or self._shared[_EPOCH] != before:
            self.stream.rewind()
            self._publish()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken; as `Stream.load_state_dict`, at any number of workers.

        In a worker: a state that this worker gave, or any of a main process.

        Raises:
            OptionError: The state is of other data or options, or of another worker.
        """
        worker = self._find_worker()
        if worker is None:
            if isinstance(state, Mapping) and "worker" in state:
                raise OptionError(
                    "this is the state of one DataLoader worker; load it with the StatefulDataLoader that gave it"
                )
            epoch = self._shared[_EPOCH]
            self.stream.load_state_dict(state)
            # A StatefulDataLoader loads what was the end of an epoch late, after set_epoch, and begins anew at once.
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
            self._own = self._next = self.stream.resume_at
        else:
            self.stream.load_state_dict(state)
            self._own = self._next = self._first_of(worker, self.stream.resume_at)

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iterator of this process is; in a worker, where this worker is.

        Raises:
            OptionError: Workers are reading: only their consumer knows what it has seen.
        """
        worker = self._find_worker()
        if worker is not None:
            state = self.stream.state_at(self._next)
            return {"worker": worker.number, "num_workers": worker.of, "stream": state}
        if self._shared[_USED_BY]:
            raise OptionError(
                "DataLoader workers read ahead of what you have seen; "
                "call state_after(number of batches you took), or use torchdata's StatefulDataLoader"
            )
        return self.stream.state_at(self._next)

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """Return the state when `num_batches` batches of the newest iteration have been seen.

        Raises:
            OptionError: There are fewer, or no batch size to count in, or each worker has a state of its own.
        """
        began, size = self._shared[_BEGAN], self.stream.batch_size
        if not self._counts_batches:
            raise OptionError("to count in batches, the dataset must know their size; give it batch_size")
        if began == _PER_WORKER:
            raise OptionError("a StatefulDataLoader keeps this state; take its state_dict()")
        left = max(0, len(self.stream) - began)
        if not 0 <= num_batches <= -(-left // size):
            raise OptionError(
                f"num_batches is {num_batches}, but the iteration has {-(-left // size)} batches of {size}; "
                "count from its beginning, and give the DataLoader the batch_size of the dataset"
            )
        return self.stream.state_at(began + num_batches * size)

    # In any process

    def samples(self) -> Iterator[Sample]:
        """Return an iterator over this process's samples: whole steps, one after the other."""
        worker, begin = self._begin()
        return self._samples(worker, begin)

    def steps(self) -> Iterator[list[Sample]]:
        """Return an iterator over this process's steps."""
        worker, begin = self._begin()
        return self._steps(worker, begin)

    def _samples(self, worker: Worker, begin: int) -> Iterator[Sample]:
        for number, skip, step in self._numbered(worker, begin):
            start = number * self.stream.batch_size
            for taken, sample in enumerate(step[skip:], start=skip + 1):
                self._next = self._after(worker, number) if taken == len(step) else start + taken
                yield sample

    def _steps(self, worker: Worker, begin: int) -> Iterator[list[Sample]]:
        for number, skip, step in self._numbered(worker, begin):
            self._next = self._after(worker, number)
            yield step[skip:]

    def _numbered(self, worker: Worker, begin: int) -> Iterator[tuple[int, int, list[Sample]]]:
        """Yield (number of the step, how many of its samples to leave out, the step)."""
        if begin >= len(self.stream):
            return
        first, skip = divmod(begin, self.stream.batch_size)
        steps = self.stream.steps(first, stride=worker.of)
        for number, step in zip(count(first, worker.of), steps):
            yield number, skip, step
            skip = 0

    def _after(self, worker: Worker, step: int) -> int:
        return (step + worker.of) * self.stream.batch_size

    def _begin(self) -> tuple[Worker, int]:
        """Return this worker and where it begins: called at `iter`, not at the first `next`."""
        worker, shared = self._find_worker(), self._shared
        if worker is None:
            worker = Worker(0, 1, 0)
            self._follow()
            begin = 0 if shared[_USED_BY] else shared[_RESUME]
            shared[_RESUME] = shared[_USED_BY] = 0
            shared[_BEGAN] = begin
            if self._epoch_after is not None:
                shared[_EPOCH], self._epoch_after = self._epoch_after, None
        elif self._own is not None:  # its state came with an epoch of its own
            begin, self._own = self._own, None
            shared[_BEGAN] = _PER_WORKER
            shared[_USED_BY] = shared[_USED_BY] or worker.iteration | 1
        else:
            self._follow()
            shared[_USED_BY] = shared[_USED_BY] or worker.iteration | 1
            mine = shared[_USED_BY] == worker.iteration | 1 and shared[_LOADS] != self._taken_loads
            self._taken_loads = shared[_LOADS]
            begin = shared[_BEGAN] = shared[_RESUME] if mine else 0
            begin = self._first_of(worker, begin)
        self._next = begin
        return worker, begin

    def _first_of(self, worker: Worker, begin: int) -> int:
        """Return where a worker begins when the epoch goes on after `begin` samples."""
        size = self.stream.batch_size
        if begin % size and worker.of > 1 and begin < len(self.stream):
            raise OptionError(
                f"state was taken within a step ({begin % size} of {size} samples), which workers cannot share; "
                "take states between batches, or resume with num_workers=0"
            )
        return begin + worker.number * size

    def _publish(self) -> None:
        """Tell the workers what this process has chosen."""
        state, shared = self.stream.state_dict(), self._shared
        shared[_EPOCH], shared[_PARTITIONS], shared[_GLOBAL_BATCH] = (
            state["epoch"],
            state["partitions"],
            state["global_batch"],
        )
        self._next = shared[_RESUME] = shared[_BEGAN] = self.stream.resume_at
        shared[_LOADS] += 1
        shared[_USED_BY] = 0

    def _follow(self) -> None:
        """Do what the main process has chosen."""
        shared = self._shared
        chosen = {
            "epoch": shared[_EPOCH],
            "partitions": shared[_PARTITIONS],
            "global_batch": shared[_GLOBAL_BATCH],
            "rank_samples": 0,
        }
        self.stream.load_state_dict({**self.stream.state_at(0), **chosen})
