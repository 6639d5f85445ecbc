"""`Stream`: what one rank gets of an epoch, in any order, resumable at any sample.

    numbers of samples --rank slice--> (partition, offset) --epoch order--> items --view--> positions
      --planner--> chunks, and what to read for them --reader--> samples

All but the last arrow is arithmetic in `order/`; nothing is read to know the order, and nothing is
replayed to resume.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from shardpack.errors import OptionError
from shardpack.format.stream_state import StreamState, check_same_order, parse_state
from shardpack.order.options import Shuffle
from shardpack.order.partitions import RankSlice
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer
from shardpack.stream.epochs import DatasetEpochs, Epochs
from shardpack.stream.loader import Loader
from shardpack.stream.options import Decode, FieldsTransform, LoaderOptions, Size, StreamOptions
from shardpack.stream.progress import Progress
from shardpack.stream.reader import Parts
from shardpack.stream.stream_input import Streamable


class Stream:
    """An iterable over what one rank gets of an epoch; made by `Dataset.stream`.

    Iterating again gives the same epoch again from its start, until `set_epoch`. `state_dict` says
    how far the newest iterator is; `load_state_dict` lets the next one begin there. An iterator
    may be dropped at any point: its threads end with the requests that are under way. Memory: of a
    local dataset a chunk of samples, about 4 MiB or the largest sample, and with "blocks" what is not in
    the page cache; of a remote one what is read ahead. `memory_bytes` bounds both.

    Callers that fetch before their consumer asks (workers, loaders) take `steps`, count what the
    consumer has seen, and let `state_at` make the state.
    """

    def __init__(self, epochs: Epochs, options: StreamOptions | None = None) -> None:
        """Create a stream of these epochs. Of the options, those of the ranks are used."""
        options = options or StreamOptions()
        self._epochs, self._keeps_window = epochs, options.window_blocks is not None
        self._rank = as_integer("rank", options.rank)
        self._world_size = as_integer("world_size", options.world_size, minimum=1)
        batch_size, partitions = options.batch_size, options.partitions
        self._batch_size = None if batch_size is None else as_integer("batch_size", batch_size, minimum=1)
        self._partitions_asked = None if partitions is None else as_integer("partitions", partitions)
        if self._partitions_asked is None:
            partitions = epochs.default_partitions(self._world_size, self._batch_size)
        else:
            partitions = self._partitions_asked
        global_batch = max(partitions, 1) if self._batch_size is None else self._batch_size * self._world_size
        self._slice = self._slice_of(partitions, global_batch, options.tail)
        self._epoch = 0
        self._progress = Progress(0)  # of the newest iterator
        self._resume_at = 0  # where the next iterator begins

    def _slice_of(self, partitions: int, global_batch: int, tail: str, epochs: Epochs | None = None) -> RankSlice:
        return (epochs or self._epochs).slice_of(
            partitions, global_batch, tail, rank=self._rank, world_size=self._world_size
        )

    # What it gives

    def __len__(self) -> int:
        """Return how many samples this rank gets in an epoch: exact, the same for all ranks but with "exact"."""
        return len(self._slice)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return self._epoch

    @property
    def batch_size(self) -> int:
        """Samples that this rank takes in a step."""
        return self._slice.batch_size

    @property
    def epochs(self) -> Epochs:
        """What it iterates over."""
        return self._epochs

    @property
    def rank_slice(self) -> RankSlice:
        """What of each epoch is this rank's."""
        return self._slice

    @property
    def shuffle(self) -> Shuffle:
        """How each epoch is shuffled."""
        return self._epochs.shuffle

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that its samples may have, sorted."""
        return self._epochs.fields

    @property
    def has_batch_size(self) -> bool:
        """Whether it knows how many samples a rank takes in a step."""
        return self._batch_size is not None

    @property
    def num_steps(self) -> int:
        """Steps of this rank in an epoch; the last one may be shorter."""
        return self._slice.num_steps

    @property
    def resume_at(self) -> int:
        """How many samples of this rank the next iteration leaves out, because a loaded state says so."""
        return self._resume_at

    @property
    def resume_step(self) -> int:
        """The step in which the next iteration begins: its first `resume_at % batch_size` samples are left out."""
        return self._resume_at // self._slice.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, numbered from 0; it begins at its start.

        Setting the epoch that is set already changes nothing: the usual loop over epochs may call
        it after `load_state_dict` and still resume in the middle.
        """
        epoch = as_integer("epoch", epoch, minimum=0)
        if epoch != self._epoch:
            self._epoch = epoch
            self.rewind()

    def rewind(self) -> None:
        """Forget a resume point: the next iteration begins at the start of the epoch."""
        self._resume_at, self._progress = 0, Progress(0)

    # Iteration

    def __iter__(self) -> Iterator[Sample]:
        progress = self._progress = Progress(self._resume_at)
        self._resume_at = 0
        return self._counted(self._epochs.parts(self._epoch, self._slice, progress.taken, None), self._slice, progress)

    def _counted(self, parts: Parts, rank_slice: RankSlice, progress: Progress) -> Iterator[Sample]:
        taken = progress.taken
        with closing(parts):  # with an error in a part, too
            for part in parts:
                for taken, sample in enumerate(part, start=taken + 1):  # noqa: B020 - it goes on counting
                    progress.taken = taken
                    yield sample
        progress.taken = rank_slice.end

    def steps(self, first: int = 0, *, stride: int = 1, views: bool = False) -> Generator[list[Sample], None, None]:
        """Yield whole steps of this epoch, each a list: first, first + stride, and so on.

        Worker k of K takes `steps(stream.resume_step + k, stride=K)`. Counts nothing and forgets no
        resume point: `state_at` and `rewind` are the caller's.

        Args:
            first: Number of the first step, from 0; none are left from `num_steps` on.
            stride: Distance to the next step, at least 1.
            views: Give payloads that are in a map as views of it, not as bytes: for a caller that copies them.
        """
        first, stride = as_integer("first", first, minimum=0), as_integer("stride", stride, minimum=1)
        return self._steps(self._epoch, self._slice, range(first, self.num_steps, stride), views=views)

    def _steps(
        self, epoch: int, rank_slice: RankSlice, steps: range, *, views: bool
    ) -> Generator[list[Sample], None, None]:
        with closing(self._epochs.parts(epoch, rank_slice, 0, steps, views=views)) as parts:
            samples = chain.from_iterable(parts)
            while step := list(islice(samples, rank_slice.batch_size)):
                yield step

    def loader(
        self,
        *,
        decode: Decode = None,
        size: Size = None,
        min_size: Size = None,
        reduced: bool = True,
        exif_transpose: bool = False,
        fast_jpeg: bool = True,
        transform: FieldsTransform | None = None,
        threads: int | None = None,
        prefetch: int | None = None,
        on_error: str = "raise",
        drop_last: bool = False,
    ) -> Loader:
        """Return an iterable over decoded batches, one per step of this stream; see `Dataset.loader`.

        Raises:
            OptionError: The stream has no batch size, or an option is out of range.
            MissingDependencyError: The name of a decoder needs torch, which is not installed.
        """
        options = LoaderOptions(
            decode=decode, size=size, min_size=min_size, reduced=reduced, exif_transpose=exif_transpose,
            fast_jpeg=fast_jpeg, transform=transform, threads=threads, prefetch=prefetch, on_error=on_error,
            drop_last=drop_last,
        )  # fmt: skip
        return self.loader_of(options)

    def loader_of(self, options: LoaderOptions) -> Loader:
        """Return what `loader` returns.

        Raises:
            OptionError, MissingDependencyError: As for `loader`.
        """
        if not self.has_batch_size:
            raise OptionError("a loader needs to know how long batches are; give the stream a batch_size")
        return Loader(self, options)

    # Resuming

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iterator is, as a dict that JSON can hold; valid for every rank.

        Before any iterator, and after `set_epoch` or `load_state_dict`: where the next one begins.
        At the end of an epoch: its end, so that a stream resumed from it has nothing left of it.
        """
        return self.state_at(self._progress.taken)

    def state_at(self, rank_samples: int) -> dict[str, Any]:
        """Return the state of this epoch when each rank's consumer has seen `rank_samples` samples.

        Args:
            rank_samples: From the start of the epoch, those before a resume point included. More
                than `len(self)` says that the epoch is over (with "exact", for longer ranks too).
        """
        return self._state_at(as_integer("rank_samples", rank_samples, minimum=0)).as_dict()

    def _state_at(self, taken: int) -> StreamState:
        partitioning, shuffle = self._slice.partitioning, self._epochs.shuffle
        return StreamState(
            **self._epochs.identity(),
            shuffle=shuffle.mode,
            seed=shuffle.seed,
            block_bytes=shuffle.block_bytes,
            window_blocks=shuffle.window_blocks,
            tail=partitioning.tail,
            partitions=partitioning.partitions,
            global_batch=partitioning.global_batch,
            epoch=self._epoch,
            rank_samples=self._slice.reached(taken),
            world_size=self._world_size,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken, by any rank, at any world size.

        Partitions, window and global batch are those of the state. At another world size, one that
        divides the partitions, the state must be that of a whole step: all ranks have then taken whole batches.

        Raises:
            OptionError: The state is of other data or options, or does not fit this world size.
                Nothing of it is applied then.
        """
        found = parse_state(state)
        check_same_order(found, self._state_at(0))
        self._check_asked(found)
        epochs = self._epochs.with_window(found.window_blocks)
        rank_slice = self._slice_of(found.partitions, found.global_batch, found.tail, epochs)
        taken = self._translate(found, rank_slice)
        self._epochs, self._slice, self._epoch = epochs, rank_slice, found.epoch
        self._progress, self._resume_at = Progress(taken), taken

    def _check_asked(self, found: StreamState) -> None:
        if self._partitions_asked not in (None, found.partitions):
            raise OptionError(
                f"state has {found.partitions} partitions, asked for {self._partitions_asked}; "
                "leave partitions out, or start the epoch again"
            )
        own = self._epochs.shuffle.window_blocks
        if self._keeps_window and own != found.window_blocks:
            raise OptionError(
                f"state has window_blocks of {found.window_blocks}, asked for {own}; "
                "leave window_blocks out, or start the epoch again"
            )
        if self._batch_size is not None and self._batch_size * self._world_size != found.global_batch:
            raise OptionError(
                f"state has a global batch of {found.global_batch}, asked for {self._batch_size} * {self._world_size}; "
                "choose batch_size so that the product is the same"
            )

    def _translate(self, found: StreamState, rank_slice: RankSlice) -> int:
        """Return how many samples this rank has taken when every rank of `found` took `rank_samples`."""
        then = replace(rank_slice, rank=0, world_size=found.world_size)
        if found.rank_samples > then.end:
            raise OptionError(f"state is beyond the epoch: {found.rank_samples} samples of at most {then.end} taken")
        if found.world_size == self._world_size or found.rank_samples == then.end:
            return min(found.rank_samples, len(rank_slice)) if found.rank_samples < then.end else len(rank_slice)
        step, within = divmod(found.rank_samples, then.batch_size)
        if within:
            raise OptionError(
                f"state was taken within a step ({within} of {then.batch_size} samples); "
                f"resume at world size {found.world_size}, or take states between batches"
            )
        return rank_slice.step_bounds(step)[0]


def open_stream(dataset: Streamable, options: StreamOptions) -> Stream:
    """Return a stream over a dataset or view; see `Dataset.stream`.

    Raises:
        OptionError: An option is out of range, or options contradict each other.
        FieldNotFoundError: No sample of the dataset has one of the fields.
    """
    epochs = DatasetEpochs(dataset.stream_input(options.fields), options.as_shuffle(), options.read_limits())
    return Stream(epochs, options)
