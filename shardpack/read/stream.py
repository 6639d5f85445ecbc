"""`Stream`: one rank's share of an epoch, in any order, resumable at any sample.

    rank share --places--> (partition, offset) --epoch order--> items --view--> positions
      --chunks of about 1 MiB--> fetch --> samples          read-ahead: hints, a window of blocks ahead

All but the last line is arithmetic in `plan/`; nothing is read to know the order, and nothing is
replayed to resume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_hexdigest

from shardpack.errors import OptionError
from shardpack.format.manifest import fingerprint
from shardpack.plan.blocks import Segments
from shardpack.plan.epoch import EpochOrder, Shuffle, as_integer
from shardpack.plan.partition import Partitioning, RankShare
from shardpack.read.ahead import ReadAhead
from shardpack.read.fetch import fetch
from shardpack.read.sample import Sample
from shardpack.read.shards import Shards
from shardpack.read.state import StreamState, parse_state

CHUNK_BYTES = 4 << 20
MAX_CHUNK_SAMPLES = 2048


class Stream:
    """An iterable over one rank's share of an epoch; made by `Dataset.stream`.

    Iterating again starts the epoch again, in the same order, until `set_epoch`. `state_dict` says
    how far the newest iterator is, `load_state_dict` lets the next one begin there. Memory: one
    chunk of samples, about 4 MiB or the largest sample; what is read ahead waits in the page cache.
    No thread, no handle of its own: an iterator may be dropped at any point.
    """

    def __init__(
        self,
        shards: Shards,
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
        if world_size < 1:
            raise OptionError(f"world_size is {world_size}, expected at least 1")
        if batch_size is not None and batch_size < 1:
            raise OptionError(f"batch_size is {batch_size}, expected at least 1")
        self._shards, self._positions, self._shuffle, self._fields = shards, positions, shuffle, fields
        self._rank, self._world_size, self._batch_size = rank, world_size, batch_size
        self._partitions_asked = partitions
        partitions = world_size if partitions is None else partitions
        self._share = self._shared(
            partitions, max(partitions, 1) if batch_size is None else batch_size * world_size, tail
        )
        self._epoch = 0
        self._taken = 0  # samples that the newest iterator has handed out
        self._resume_at = 0  # where the next iterator begins

    def _shared(self, partitions: int, global_batch: int, tail: str) -> RankShare:
        num_items = self._shards.manifest.num_samples if self._positions is None else len(self._positions)
        deal = Partitioning(num_items, partitions, global_batch, tail)
        return RankShare(deal, self._rank, self._world_size)

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

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration, from its start; epochs are numbered from 0."""
        if as_integer("epoch", epoch) < 0:
            raise OptionError(f"epoch is {epoch}; epochs are numbered from 0")
        self._epoch, self._taken, self._resume_at = as_integer("epoch", epoch), 0, 0

    def __iter__(self) -> Iterator[Sample]:
        begin, self._resume_at = self._resume_at, 0
        return self._samples(begin, len(self._share))

    def _samples(self, begin: int, end: int) -> Iterator[Sample]:
        """Yield the samples begin <= n < end of this rank's share, counting them as taken."""
        self._taken = begin
        for first, positions in self._chunks(begin, end):
            samples = fetch(self._shards, positions, self._fields, streaming=self._sequential)
            for taken, sample in enumerate(samples, start=first + 1):
                self._taken = taken
                yield sample

    @property
    def _sequential(self) -> bool:
        return self._shuffle.mode in ("none", "shards")

    def _chunks(self, begin: int, end: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield (number of the first sample, positions), and announce what comes after them."""
        order = self._order()
        ahead = ReadAhead(self._shards, self._positions, order)
        size = self._chunk_samples()
        for first in range(begin, end, size):
            partition, offset = self._share.places(first, min(first + size, end))
            ahead.announce(partition, offset)
            items = order.items(partition, offset)
            yield first, items if self._positions is None else self._positions[items]

    def _chunk_samples(self) -> int:
        manifest = self._shards.manifest
        mean = max(1, manifest.num_bytes // max(1, manifest.num_samples))
        return min(max(1, CHUNK_BYTES // mean), MAX_CHUNK_SAMPLES)

    def _order(self) -> EpochOrder:
        return EpochOrder(self._segments(), self._shuffle, self._share.deal, self._epoch)

    def _segments(self) -> Segments:
        manifest = self._shards.manifest
        counts = np.diff(np.array(manifest.starts, np.int64))
        num_bytes = np.array([record["num_bytes"] for record in manifest.records], np.int64)
        if self._positions is None:
            return Segments(counts, num_bytes)
        runs = [(number, len(rows)) for number, rows in self._shards.rows(self._positions)]
        number, count = np.array(runs, np.int64).reshape(-1, 2).T
        return Segments(count, count * num_bytes[number] // counts[number])

    def state_dict(self) -> dict[str, Any]:
        """Return where the newest iterator is, as a dict that JSON can hold; valid for every rank."""
        deal, shuffle = self._share.deal, self._shuffle
        return StreamState(
            fingerprint=fingerprint(self._shards.manifest),
            view="" if self._positions is None else xxh3_64_hexdigest(self._positions.astype("<i8").tobytes()),
            shuffle=shuffle.mode,
            seed=shuffle.seed,
            block_bytes=shuffle.block_bytes,
            window_blocks=shuffle.window_blocks,
            tail=deal.tail,
            partitions=deal.partitions,
            global_batch=deal.global_batch,
            epoch=self._epoch,
            rank_samples=max(self._taken, self._resume_at),
            world_size=self._world_size,
        ).as_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where a state was taken, by any rank, at any world size.

        Partitions and the global batch are those of the state. At another world size the state
        must be that of a whole step: all ranks have then taken whole batches.

        Raises:
            OptionError: The state is of other data or options, or does not fit this world size.
                Nothing of it is applied then.
        """
        found, own = parse_state(state), StreamState(**self.state_dict())
        for name, what in _MUST_AGREE.items():
            if getattr(found, name) != getattr(own, name):
                raise OptionError(
                    f"state is of {what}: {name} is {getattr(found, name)!r} there, {getattr(own, name)!r} here; "
                    "resume with the same, or start the epoch anew"
                )
        self._check_asked(found)
        share = self._shared(found.partitions, found.global_batch, found.tail)
        taken = self._translate(found, share)
        self._share, self._epoch, self._taken, self._resume_at = share, found.epoch, taken, taken

    def _check_asked(self, found: StreamState) -> None:
        if self._partitions_asked not in (None, found.partitions):
            raise OptionError(f"state has {found.partitions} partitions, asked for {self._partitions_asked}")
        if self._batch_size is not None and self._batch_size * self._world_size != found.global_batch:
            raise OptionError(
                f"state has a global batch of {found.global_batch}, asked for {self._batch_size} * {self._world_size}; "
                "choose batch_size so that the product is the same"
            )

    def _translate(self, found: StreamState, share: RankShare) -> int:
        """Return how many samples this rank has taken when every rank of `found` took `rank_samples`."""
        if found.world_size == self._world_size:
            return min(found.rank_samples, len(share))
        then = RankShare(share.deal, 0, found.world_size) if not share.deal.partitions % found.world_size else None
        if then is None:
            raise OptionError(
                f"state has {found.partitions} partitions and {found.world_size} ranks, which do not divide"
            )
        if found.rank_samples >= len(then):
            return len(share)
        steps, within = divmod(found.rank_samples, then.batch_size)
        if within:
            raise OptionError(
                f"state was taken within a step ({within} of {then.batch_size} samples); "
                f"resume at world size {found.world_size}, or take states between batches"
            )
        return share.step_bounds(steps)[0]


_MUST_AGREE = {
    "fingerprint": "another dataset",
    "view": "another selection of samples",
    "shuffle": "another order",
    "seed": "another order",
    "block_bytes": "another order",
    "window_blocks": "another order",
    "tail": "another tail",
}
