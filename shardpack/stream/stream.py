"""`Stream`: one rank's share of an epoch, in any order, resumable at any sample.

    rank share --places--> (partition, offset) --epoch order--> items --view--> positions
      --chunks of about 4 MiB--> `ChunkReader`, or for whole blocks `BlockReader` --> samples

All but the last line is arithmetic in `plan/`; nothing is read to know the order, and nothing is
replayed to resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.errors import OptionError
from shardpack.format.stream_state import StreamState, check_same_order, parse_state
from shardpack.order.epoch import EpochOrder, Shuffle
from shardpack.order.partitions import Partitioning, RankShare
from shardpack.order.view import Sequence
from shardpack.read.sample import Sample
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import LARGE_SAMPLE_BYTES
from shardpack.runtime.arguments import as_integer
from shardpack.stream.block_reader import BlockReader
from shardpack.stream.chunk_reader import CHUNK_BYTES, MAX_CHUNK_SAMPLES, RUN_BYTES, ChunkReader
from shardpack.stream.prefetch import Integers, Parts, Source

PLANNED_SAMPLES = 8192  # whose order is worked out at once: 0.1 us each, 0.3 in runs of a tenth


class Stream:
    """An iterable over one rank's share of an epoch; made by `Dataset.stream`.

    Iterating again gives the same epoch again from its start, until `set_epoch`. `state_dict` says
    how far the newest iterator is; `load_state_dict` lets the next one begin there. Memory:
    near, one chunk of samples, about 4 MiB or the largest sample, and with "blocks" a window of what
    is not in the page cache; far away two windows, or 64 MiB, read by up to 16 threads. An iterator
    may be dropped at any point: its threads end with the requests that are under way.

    Callers that fetch before their consumer asks (workers, loaders) take `steps`, count what the
    consumer has seen, and let `state_at` make the state.
    """

    def __init__(
        self,
        shards: ShardCache,
        positions: npt.NDArray[np.int64] | None,
        shuffle: Shuffle,
        *,
        rank: int = 0,
        world_size: int = 1,
        batch_size: int | None = None,
        tail: str = "pad",
        partitions: int | None = None,
        fields: tuple[str, ...] | None = None,
    ) -> None:
        self._shards, self._shuffle, self._fields = shards, shuffle, fields
        self._rank, self._world_size = as_integer("rank", rank), as_integer("world_size", world_size)
        self._batch_size = None if batch_size is None else as_integer("batch_size", batch_size)
        self._partitions_asked = None if partitions is None else as_integer("partitions", partitions)
        self._sequence = Sequence(shards.manifest, positions)
        if self._world_size < 1:
            raise OptionError(f"world_size is {world_size}, expected at least 1")
        if self._batch_size is not None and self._batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}, expected at least 1")
        partitions = self._world_size if self._partitions_asked is None else self._partitions_asked
        global_batch = max(partitions, 1) if self._batch_size is None else self._batch_size * self._world_size
        self._share = self._shared(partitions, global_batch, tail)
        self._epoch = 0
        self._progress = _Progress(0)  # of the newest iterator
        self._resume_at = 0  # where the next iterator begins

    def _shared(self, partitions: int, global_batch: int, tail: str) -> RankShare:
        deal = Partitioning(len(self._sequence), partitions, global_batch, tail)
        return RankShare(deal, self._rank, self._world_size)

    # What it gives

    def __len__(self) -> int:
        """Return how many samples this rank gets in an epoch: exact, the same for all ranks but with "exact"."""
        return len(self._share)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return self._epoch

    @property
    def batch_size(self) -> int:
        """Samples that this rank takes in a step."""
        return self._share.batch_size

    @property
    def num_steps(self) -> int:
        """Steps of this rank in an epoch; the last one may be shorter."""
        return self._share.num_steps

    @property
    def resume_at(self) -> int:
        """How many samples of this rank the next iteration leaves out, because a loaded state says so."""
        return self._resume_at

    @property
    def resume_step(self) -> int:
        """The step in which the next iteration begins: its first `resume_at % batch_size` samples are left out."""
        return self._resume_at // self._share.batch_size

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
        self._resume_at, self._progress = 0, _Progress(0)

    # Iteration

    def __iter__(self) -> Iterator[Sample]:
        progress = self._progress = _Progress(self._resume_at)
        self._resume_at = 0
        return self._counted(self._parts(self._epoch, self._share, progress.taken), self._share, progress)

    def _counted(self, parts: Parts, share: RankShare, progress: _Progress) -> Iterator[Sample]:
        taken = progress.taken
        with closing(parts):  # with an error in a part, too
            for part in parts:
                for taken, sample in enumerate(part, start=taken + 1):  # noqa: B020 - it goes on counting
                    progress.taken = taken
                    yield sample
        progress.taken = share.end

    def steps(self, first: int = 0, *, stride: int = 1) -> Iterator[list[Sample]]:
        """Yield whole steps of this epoch, each a list: first, first + stride, and so on.

        Worker k of K takes `steps(stream.resume_step + k, stride=K)`. Counts nothing and forgets no
        resume point: `state_at` and `rewind` are the caller's.

        Args:
            first: Number of the first step, from 0; none are left from `num_steps` on.
            stride: Distance to the next one, at least 1.
        """
        first, stride = as_integer("first", first, minimum=0), as_integer("stride", stride, minimum=1)
        return self._steps(self._epoch, self._share, range(first, self.num_steps, stride))

    def _steps(self, epoch: int, share: RankShare, steps: range) -> Iterator[list[Sample]]:
        with closing(self._parts(epoch, share, 0, steps)) as parts:
            samples = chain.from_iterable(parts)
            while step := list(islice(samples, share.batch_size)):
                yield step

    def _parts(self, epoch: int, share: RankShare, begin: int, steps: range | None = None) -> Parts:
        """Yield this rank's samples from number `begin` on; those of some steps only, numbered among themselves."""
        shards, sequence, deal = self._shards, self._sequence, share.deal
        order = EpochOrder(sequence.segments(), self._shuffle, deal, epoch)
        places = self._places(share, begin, steps)
        source = Source(shards, sequence, order, deal, self._fields)
        if self._takes_whole_blocks(1 if steps is None else steps.step):
            epoch_reader: BlockReader | ChunkReader = BlockReader(source, block_bytes=self._shuffle.block_bytes)
        else:
            epoch_reader = ChunkReader(source, neighbours=self._sequential)
        return epoch_reader.parts(places, self._chunk_samples())

    def _places(self, share: RankShare, begin: int, steps: range | None) -> Iterator[tuple[Integers, Integers]]:
        """Yield (partitions, offsets) in batches that are planned together: small ones first."""
        size, end = self._chunk_samples(), len(share) if steps is None else share.samples_of(steps)
        count = 1 if self._shuffle.mode == "blocks" or self._shards.store.remote else size
        while begin < end:
            numbers = np.arange(begin, min(begin + count, end))
            yield share.places_of(numbers if steps is None else share.numbers_of(steps, numbers))
            begin += count
            count *= 4
            if count > size:
                count = size if self._shards.store.remote else max(size, min(8 * size, PLANNED_SAMPLES))

    def _takes_whole_blocks(self, stride: int) -> bool:
        """Return whether to take blocks whole, rather than the samples of a chunk where they are.

        Of several workers each takes a part of every block: far away they ask for large samples one
        by one.
        """
        if self._shuffle.mode != "blocks":
            return False
        manifest = self._shards.manifest
        is_small = manifest.num_bytes <= LARGE_SAMPLE_BYTES * manifest.num_samples
        return stride == 1 or is_small or not self._shards.store.remote

    @property
    def _sequential(self) -> bool:
        return self._shuffle.mode in {"none", "shards"}

    def _chunk_samples(self) -> int:
        manifest = self._shards.manifest
        mean = max(1, manifest.num_bytes // max(1, manifest.num_samples))
        if mean > LARGE_SAMPLE_BYTES and not self._shards.store.remote:
            return max(1, 2 * CHUNK_BYTES // mean)  # no more than planned together, where they are in memory
        near_run = self._sequential and not self._shards.store.remote
        return min(max(1, (RUN_BYTES if near_run else CHUNK_BYTES) // mean), MAX_CHUNK_SAMPLES)

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
        deal, shuffle = self._share.deal, self._shuffle
        return StreamState(
            fingerprint=self._sequence.fingerprint,
            view=self._sequence.view,
            shuffle=shuffle.mode,
            seed=shuffle.seed,
            block_bytes=shuffle.block_bytes,
            window_blocks=shuffle.window_blocks,
            tail=deal.tail,
            partitions=deal.partitions,
            global_batch=deal.global_batch,
            epoch=self._epoch,
            rank_samples=self._share.reached(taken),
            world_size=self._world_size,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken, by any rank, at any world size.

        Partitions and the global batch are those of the state. At another world size the state
        must be that of a whole step: all ranks have then taken whole batches.

        Raises:
            OptionError: The state is of other data or options, or does not fit this world size.
                Nothing of it is applied then.
        """
        found = parse_state(state)
        check_same_order(found, self._state_at(0))
        self._check_asked(found)
        share = self._shared(found.partitions, found.global_batch, found.tail)
        taken = self._translate(found, share)
        self._share, self._epoch, self._progress, self._resume_at = share, found.epoch, _Progress(taken), taken

    def _check_asked(self, found: StreamState) -> None:
        if self._partitions_asked not in (None, found.partitions):
            raise OptionError(
                f"state has {found.partitions} partitions, asked for {self._partitions_asked}; "
                "leave partitions out, or start the epoch anew"
            )
        if self._batch_size is not None and self._batch_size * self._world_size != found.global_batch:
            raise OptionError(
                f"state has a global batch of {found.global_batch}, asked for {self._batch_size} * {self._world_size}; "
                "choose batch_size so that the product is the same"
            )

    def _translate(self, found: StreamState, share: RankShare) -> int:
        """Return how many samples this rank has taken when every rank of `found` took `rank_samples`."""
        then = replace(share, rank=0, world_size=found.world_size)
        if found.rank_samples > then.end:
            raise OptionError(f"state is beyond the epoch: {found.rank_samples} samples of at most {then.end} taken")
        if found.world_size == self._world_size or found.rank_samples == then.end:
            return min(found.rank_samples, len(share)) if found.rank_samples < then.end else len(share)
        step, within = divmod(found.rank_samples, then.batch_size)
        if within:
            raise OptionError(
                f"state was taken within a step ({within} of {then.batch_size} samples); "
                f"resume at world size {found.world_size}, or take states between batches"
            )
        return share.step_bounds(step)[0]


class _Progress:
    """How many samples an iterator has handed out, those before its start included."""

    __slots__ = ("taken",)

    def __init__(self, taken: int) -> None:
        self.taken = taken
