"""Steps as places in mapped shards: for a loader of arrays, which are copied from there without a `Sample` for each.

    steps --rank slice, order, view--> positions --open shards--> a view of each payload in the map of its shard

The steps end where one is not in memory, or a sample may lack a field: the stream gives that step and the later ones
as samples, and raises what there is to raise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shardpack.errors import FormatError, ShardNotFoundError
from shardpack.read.shard_reader import ShardReader, map_view
from shardpack.runtime.arrays import Integers
from shardpack.stream.stream_input import StreamInput

_PROBED_BYTES = 2 << 20  # for each so many of a step, one sample tells whether it is in memory


@dataclass(frozen=True, slots=True, eq=False)
class MappedStep:
    """The samples of one step, at least one.

    Attributes:
        positions: (n) stored positions of the samples.
        shards: (n) the shards that hold them: mapped, and each of their samples has all fields.
    """

    positions: Sequence[int]
    shards: Sequence[ShardReader]

    def __len__(self) -> int:
        return len(self.positions)

    def without(self, count: int) -> MappedStep:
        """Return the step without its first samples."""
        return MappedStep(self.positions[count:], self.shards[count:])

    def keys(self) -> list[str]:
        """Return the keys of the samples."""
        return [shard.keys.text_at(position) for shard, position in zip(self.shards, self.positions, strict=True)]

    def payloads(self, field: str) -> list[memoryview]:
        """Return views of the payloads of a field. They keep the maps alive."""
        maps = {shard: (map_view(shard.mapped), shard.fields.index(field)) for shard in set(self.shards)}
        payloads = []
        for shard, position in zip(self.shards, self.positions, strict=True):
            mapped, column = maps[shard]
            member = (position - shard.first) * shard.width + column
            begin = shard.offsets[member]
            payloads.append(mapped[begin : begin + shard.sizes[member]])
        return payloads

    def is_cached(self, distance: int) -> bool:
        """Return whether the first sample, and each one `distance` later, is in memory, as far as one can tell."""
        some = slice(None, None, distance)
        return all(
            shard.store.is_cached(shard.path, shard.extent(position)[0])
            for shard, position in zip(self.shards[some], self.positions[some], strict=True)
        )


def mapped_steps(stream_input: StreamInput, positions: Iterable[Integers], batch_size: int) -> Iterator[MappedStep]:
    """Yield steps as long as they are in memory and have all fields.

    Args:
        stream_input: The samples.
        positions: Their stored positions, in groups of whole steps; only the last step may be shorter.
        batch_size: Samples of a step.
    """
    cache, num_bytes = stream_input.cache, stream_input.mean_bytes
    distance = max(1, _PROBED_BYTES // num_bytes)
    if stream_input.is_remote or cache.verify or cache.manifest.layers:
        return
    try:
        for group in positions:
            for at in range(0, len(group), batch_size):
                step = _mapped_step(stream_input, group[at : at + batch_size])
                if step is None or not step.is_cached(distance):
                    return
                yield step
                stream_input.count_mapped(num_bytes * len(step))
    except (FormatError, ShardNotFoundError):
        return  # raised again where the samples are read


def _mapped_step(stream_input: StreamInput, positions: Integers) -> MappedStep | None:
    """Return a step, whose shards are opened and mapped if they are not yet; None if that is not possible."""
    cache, fields = stream_input.cache, frozenset(stream_input.fields)
    found = zip(cache.by_position.find_mapped(positions), positions.tolist(), strict=True)
    shards = [cache.map(cache.at(position)) if shard is None else shard for shard, position in found]
    for shard in set(shards):
        if shard.mapped is None or not shard.dense or not fields.issubset(shard.fields):
            return None
        shard.used = True
    return MappedStep(positions.tolist(), shards)
