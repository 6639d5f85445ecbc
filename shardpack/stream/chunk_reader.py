"""Samples of an epoch in chunks of about 4 MiB: each chunk is planned and read as one, then handed out.

Near files are read when the chunk is asked for. Far away, threads read the chunks that come after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

from shardpack.errors import FormatError, ShardNotFoundError
from shardpack.read.read_many import read_parts, read_small
from shardpack.read.sample import Sample
from shardpack.runtime.threads import ordered_map
from shardpack.stream.prefetch import Integers, Parts, Source

CHUNK_BYTES = 4 << 20  # of the shard, by the mean of the dataset
RUN_BYTES = 2 << 20  # the same for neighbours, read in one go: a third faster than 4 MiB, as it stays in the cache
MAX_CHUNK_BYTES = 4 << 20  # of payloads; more is read in parts
MAX_FAR_BYTES = 4 * MAX_CHUNK_BYTES  # the same for a chunk that is read ahead
MAX_CHUNK_SAMPLES = 2048
PREFETCHED_CHUNKS = 16  # of 4 MiB each, more than 10 Gbit/s bring in 50 ms


class ChunkReader:
    """One pass over (a part of) an epoch. Not thread-safe; its threads end with the iterator of `parts`."""

    def __init__(self, source: Source, *, neighbours: bool) -> None:
        self._source, self._shards, self._fields = source, source.shards, source.fields
        self._neighbours = neighbours  # each chunk is a run of neighbouring samples, or a few

    def parts(self, places: Iterable[tuple[Integers, Integers]], chunk_samples: int) -> Parts:
        """Yield the samples at some (partitions, offsets), in parts of at most `MAX_CHUNK_BYTES`."""
        if self._shards.store.remote:
            return self._parts_far(iter(places))
        return self._parts_near(places, chunk_samples)

    def _parts_near(self, places: Iterable[tuple[Integers, Integers]], size: int) -> Parts:
        for partition, offset in places:
            positions = self._positions(partition, offset)
            for at in range(0, len(positions), size):
                yield from self._read_near(positions[at : at + size])

    def _read_near(self, positions: Integers) -> Iterator[Iterable[Sample]]:
        if self._are_large_and_cached(positions):
            yield map(self._shards.read_mapped, positions.tolist())
            self._shards.count_mapped(MAX_CHUNK_BYTES)
        else:
            yield from self._read(positions)

    def _are_large_and_cached(self, positions: Integers) -> bool:
        """Return whether samples are best cut from maps, each when it is asked for.

        What a dropped sample leaves is memory that the processor's caches still hold: the next one
        is copied there at three times the speed of a chunk at a time (110 KB samples, 2-core VM).
        """
        shards, head = self._shards, int(positions[0])
        shard = shards.at(head)
        if shards.verify or self._fields is not None or not shard.has_large_samples():
            return False
        return shard.store.is_cached(shard.path, shard.extent(head)[0])

    def _parts_far(self, places: Iterator[tuple[Integers, Integers]]) -> Parts:
        chunks = (self._positions(partition, offset) for partition, offset in places)
        load = lambda positions: (positions, self._load(positions))  # noqa: E731
        with closing(ordered_map(chunks, load, depth=PREFETCHED_CHUNKS, grow=True)) as loaded:
            for positions, samples in loaded:
                if samples is None:
                    yield from self._read(positions)
                else:
                    yield samples
                    del samples

    def _positions(self, partition: Integers, offset: Integers) -> Integers:
        return self._source.sequence.at(self._source.order.items(partition, offset))

    def _read(self, positions: Integers) -> Iterator[Iterable[Sample]]:
        return read_parts(self._shards, positions, self._fields, max_bytes=MAX_CHUNK_BYTES, streaming=self._neighbours)

    def _load(self, positions: Integers) -> list[Sample] | None:
        """Return the samples of a chunk; None if it must be read in parts, or one by one for the sake of an error."""
        try:
            return read_small(
                self._shards, positions, self._fields, max_bytes=MAX_FAR_BYTES, streaming=self._neighbours
            )
        except (FormatError, ShardNotFoundError):
            return None
