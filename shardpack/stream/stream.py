"""`Stream`: one rank's share of an epoch, in any order, resumable at any sample.

    numbers of samples --rank slice--> (partition, offset) --epoch order--> items --view--> positions
      --planner--> chunks, and what to read for them --reader--> samples

All but the last arrow is arithmetic (`order/`): the order is known without reading a sample, and a stream resumes
without replaying one.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any

from shardpack.errors import OptionError
from shardpack.format.stream_state import StreamState, check_same_order, parse_state, without_entries
from shardpack.order.options import Shuffle
from shardpack.order.partitions import RankSlice
from shardpack.read.sample import Sample
from shardpack.runtime.arguments import as_integer
from shardpack.sources.listing import Listing
from shardpack.stream.draws import FROM_TABLE, LabelColumns, asked_draws
from shardpack.stream.epochs import DatasetEpochs, Epochs
from shardpack.stream.loader import Loader
from shardpack.stream.mapped_steps import MappedStep
from shardpack.stream.options import Crop, Decode, FieldsTransform, LoaderOptions, Size, StreamOptions
from shardpack.stream.reader import SampleParts, Taken
from shardpack.stream.stream_input import Streamable
from shardpack.stream.stream_listing import list_placed


class Stream:
    """An iterable over one rank's share of an epoch; made by `Dataset.stream`.

    Iterating again repeats the epoch from its start, until `set_epoch`. `state_dict` tells how far the newest
    iterator is; `load_state_dict` lets the next one begin there. An iterator may be dropped at any point: its
    threads end with the requests in progress. Memory: for a local dataset one chunk of samples, which is about
    4 MiB or the largest sample, and with "blocks" what is not in the page cache; for a remote dataset what is
    read ahead. `memory_bytes` limits both.

    Callers that fetch before their consumer asks (workers, loaders) use `steps`, count what the consumer has
    seen, and let `state_at` make the state.
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
        self._progress = Taken(0)  # of the newest iterator
        self._resume_at = 0  # where the next iterator begins

    def _slice_of(self, partitions: int, global_batch: int, tail: str, epochs: Epochs | None = None) -> RankSlice:
        return (epochs or self._epochs).slice_of(
            partitions, global_batch, tail, rank=self._rank, world_size=self._world_size
        )

    # Lengths and options

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} samples of rank {self._rank}, epoch {self._epoch}>"

    def __len__(self) -> int:
        """Return the exact number of samples of this rank in an epoch: the same for all ranks, except with "exact"."""
        return len(self._slice)

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration."""
        return self._epoch

    @property
    def batch_size(self) -> int:
        """Samples of this rank per step."""
        return self._slice.batch_size

    @property
    def epochs(self) -> Epochs:
        """The epochs of the dataset or mix."""
        return self._epochs

    @property
    def rank_slice(self) -> RankSlice:
        """This rank's share of each epoch."""
        return self._slice

    @property
    def shuffle(self) -> Shuffle:
        """How each epoch is shuffled."""
        return self._epochs.shuffle

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that the samples may have, sorted."""
        return self._epochs.fields

    @property
    def has_batch_size(self) -> bool:
        """Whether the stream was given a batch size."""
        return self._batch_size is not None

    @property
    def num_steps(self) -> int:
        """Number of steps of this rank in an epoch; the last one may be shorter."""
        return self._slice.num_steps

    @property
    def resume_at(self) -> int:
        """Samples of this rank before the point where the next iteration begins, given by a loaded state."""
        return self._resume_at

    @property
    def resume_step(self) -> int:
        """The step in which the next iteration begins, without its first `resume_at % batch_size` samples."""
        return self._resume_at // self._slice.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration begin at the start of an epoch, numbered from 0.

        Setting the current epoch changes nothing, so that the usual loop over epochs may call this after
        `load_state_dict` and still resume in the middle.
        """
        epoch = as_integer("epoch", epoch, minimum=0)
        if epoch != self._epoch:
            self._epoch = epoch
            self.rewind()

    def rewind(self) -> None:
        """Let the next iteration begin at the start of the epoch."""
        self._resume_at, self._progress = 0, Taken(0)

    # Iteration

    def __iter__(self) -> Iterator[Sample]:
        progress = self._progress = Taken(self._resume_at)
        self._resume_at = 0
        return self._counted(self._epochs.parts(self._epoch, self._slice, progress.taken, None), self._slice, progress)

    def _counted(self, parts: SampleParts, rank_slice: RankSlice, progress: Taken) -> Iterator[Sample]:
        taken = progress.taken
        with closing(parts):  # also after an error in a part
            for part in parts:
                for taken, sample in enumerate(part, start=taken + 1):  # noqa: B020 - counting continues
                    progress.taken = taken
                    yield sample
        progress.taken = rank_slice.end

    def steps(self, first: int = 0, *, stride: int = 1, views: bool = False) -> Generator[list[Sample], None, None]:
        """Yield whole steps of this epoch, each a list: first, first + stride, and so on.

        Worker k of K uses `steps(stream.resume_step + k, stride=K)`. The progress and the resume point of the
        stream do not change: the caller uses `state_at` and `rewind`.

        Args:
            first: Number of the first step, from 0; from `num_steps` on, nothing is yielded.
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

    def mapped_steps(self, first: int) -> Iterator[MappedStep]:
        """Yield steps of this epoch from number `first` on, as far as they are in mapped shards; see `steps`."""
        return self._epochs.mapped_steps(self._epoch, self._slice, first)

    def listing(self) -> Listing:
        """Return the samples of the next iteration as `shardpack.pack` takes them: where their bytes are.

        The order is computed, so no payload is read, but the indexes of the shards are.

        Raises:
            OptionError: The datasets of a mix number their classes differently.
        """
        return list_placed(self._epochs.placed(self._epoch, self._slice, self._resume_at))

    def loader(
        self,
        *,
        decode: Decode = None,
        size: Size = None,
        min_size: Size = None,
        crop: Crop = None,
        flip: float = 0.0,
        masks: Sequence[str] = (),
        reduced: bool = True,
        exif_transpose: bool = False,
        fast_jpeg: bool = True,
        fast_resize: bool = True,
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
            decode=decode, size=size, min_size=min_size, crop=crop, flip=flip, masks=masks, reduced=reduced,
            exif_transpose=exif_transpose, fast_jpeg=fast_jpeg, fast_resize=fast_resize, transform=transform,
            threads=threads, prefetch=prefetch, on_error=on_error, drop_last=drop_last,
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
        """Return where the newest iterator is, as a dict for JSON; valid for every rank.

        Before the first iterator, and after `set_epoch` or `load_state_dict`: where the next one begins.
        At the end of an epoch: its end, so that a stream resumed from it yields no more of that epoch.
        """
        return self.state_at(self._progress.taken)

    def state_at(self, rank_samples: int) -> dict[str, Any]:
        """Return the state of this epoch after the consumer of each rank has seen `rank_samples` samples.

        Args:
            rank_samples: Number of samples from the start of the epoch, including those before a resume point.
                More than `len(self)` means that the epoch is over (with "exact", for longer ranks too).
        """
        state = self._state_at(as_integer("rank_samples", rank_samples, minimum=0)).as_dict()
        return {**state, **self._epochs.own_entries()}

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

        The state brings partitions, window and global batch. Another world size must divide the partitions,
        and the state must then be between two steps, where all ranks have taken whole batches.

        Raises:
            OptionError: The state belongs to other data or options, or does not fit this world size.
                The stream is unchanged.
        """
        own = self._epochs.own_entries().keys()
        saved = parse_state(without_entries(state, own))
        check_same_order(saved, self._state_at(0))
        self._epochs.check_entries({name: state[name] for name in own})
        self._check_asked(saved)
        epochs = self._epochs.with_window(saved.window_blocks)
        rank_slice = self._slice_of(saved.partitions, saved.global_batch, saved.tail, epochs)
        taken = self._translate(saved, rank_slice)
        self._epochs, self._slice, self._epoch = epochs, rank_slice, saved.epoch
        self._progress, self._resume_at = Taken(taken), taken

    def _check_asked(self, saved: StreamState) -> None:
        if self._partitions_asked not in (None, saved.partitions):
            raise OptionError(
                f"state has {saved.partitions} partitions, asked for {self._partitions_asked}; "
                "leave partitions out, or start the epoch again"
            )
        own = self._epochs.shuffle.window_blocks
        if self._keeps_window and own != saved.window_blocks:
            raise OptionError(
                f"state has window_blocks of {saved.window_blocks}, asked for {own}; "
                "leave window_blocks out, or start the epoch again"
            )
        if self._batch_size is not None and self._batch_size * self._world_size != saved.global_batch:
            raise OptionError(
                f"state has a global batch of {saved.global_batch}, asked for {self._batch_size} * {self._world_size}; "
                "choose batch_size so that the product is the same"
            )

    def _translate(self, saved: StreamState, rank_slice: RankSlice) -> int:
        """Return how many samples this rank has taken if each rank of a state took `rank_samples`."""
        then = replace(rank_slice, rank=0, world_size=saved.world_size)
        if saved.rank_samples > then.end:
            raise OptionError(
                f"state is beyond the epoch: {saved.rank_samples} samples of at most {then.end} taken; load the state "
                "of another step, or start the epoch again"
            )
        if saved.world_size == self._world_size or saved.rank_samples == then.end:
            return min(saved.rank_samples, len(rank_slice)) if saved.rank_samples < then.end else len(rank_slice)
        step, within = divmod(saved.rank_samples, then.batch_size)
        if within:
            raise OptionError(
                f"state was taken within a step ({within} of {then.batch_size} samples); "
                f"resume at world size {saved.world_size}, or take states between batches"
            )
        return rank_slice.step_bounds(step)[0]


def open_stream(dataset: Streamable, options: StreamOptions, columns: LabelColumns = FROM_TABLE) -> Stream:
    """Return a stream over a dataset or view; see `Dataset.stream`.

    Args:
        dataset: The samples.
        options: The options of the stream.
        columns: Where classes and weights come from.

    Raises:
        OptionError: An option is out of range, or options contradict each other.
        FieldNotFoundError: No sample of the dataset has one of the fields.
    """
    stream_input = dataset.stream_input(options.fields)
    draws = asked_draws(stream_input, options, columns)
    return Stream(DatasetEpochs(stream_input, options.as_shuffle(), options.read_limits(), draws), options)
