"""The plan for payloads that change while they are packed: the source is cut into chunks, each of which makes shards.

How large payloads become is not known in advance. So some samples are transformed first, and chunks are cut so that
each would fill at most 0.9 of a shard if all grew or shrank as those drawn from the same stretch of the source did, and
so that all are about as long. The plan depends on the samples and options alone: who makes which chunk, and when,
changes no byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from xxhash import xxh3_128_hexdigest

from shardpack.errors import OnError
from shardpack.format.tar_header import END_OF_ARCHIVE
from shardpack.write.apply_steps import Application
from shardpack.write.chunk_input import ChunkInput, ChunkPart, Span
from shardpack.write.shard_compression import ShardCompression
from shardpack.write.sharding import ShardLimits, UnitName, number_units

_AIM = (9, 10)  # of a full shard
_LEAST_RATIO = (1, 256)  # of tar bytes, where nearly all drawn samples were dropped
_RATIO_BITS = 20  # so that samples of up to 2^43 bytes can be multiplied by it


@dataclass(frozen=True, slots=True)
class ChunkRecipe:
    """All that decides what a chunk becomes, besides its samples.

    Attributes:
        application: What happens to each sample.
        limits: When a shard is full.
        compression: How shards are compressed; None for plain tars.
        on_error: Whether a sample that fails ends the run, or is left out.
        versions: Versions of the libraries that encode what the steps return as values.
    """

    application: Application
    limits: ShardLimits
    compression: ShardCompression | None = None
    on_error: OnError = "raise"
    versions: Mapping[str, str] | None = None

    def record(self) -> dict[str, Any]:
        """Return it as JSON, with the versions that this process has; equal for runs that may continue one another."""
        timeout = self.application.sample_timeout
        return {
            "steps": self.application.pipeline.describe(),
            "sample_timeout": timeout if self.on_error == "skip" else None,  # otherwise it decides no byte
            "limits": str(self.limits),
            "compression": str(self.compression),
            "on_error": self.on_error,
            "versions": None if self.versions is None else dict(self.versions),
            "libzstd": None if self.compression is None else self.compression.versions(),
        }

    def digest(self) -> str:
        """Return a hash of it."""
        return xxh3_128_hexdigest(json.dumps(self.record()).encode())


@dataclass(frozen=True, slots=True)
class Growth:
    """What drawn samples became. Two of them add up.

    Attributes:
        samples, tar_bytes: Before; the bytes are those that the plan takes them for.
        new_samples, new_tar_bytes: After.
    """

    samples: int = 0
    tar_bytes: int = 0
    new_samples: int = 0
    new_tar_bytes: int = 0

    @property
    def ratio(self) -> tuple[int, int]:
        """Bytes after and before, as a fraction of small integers: at most 2^20 after or before."""
        after = max(1, self.new_tar_bytes, self.tar_bytes * _LEAST_RATIO[0] // _LEAST_RATIO[1])
        excess = max(0, max(after, self.tar_bytes).bit_length() - _RATIO_BITS)
        return max(1, after >> excess), max(1, self.tar_bytes >> excess)

    def __add__(self, other: Growth) -> Growth:
        return Growth(
            self.samples + other.samples,
            self.tar_bytes + other.tar_bytes,
            self.new_samples + other.new_samples,
            self.new_tar_bytes + other.new_tar_bytes,
        )


@dataclass(frozen=True, slots=True, eq=False)
class ChunkPlan:
    """Which samples are in which chunk.

    Attributes:
        found: All samples, in the order of packing.
        recipe: What becomes of a chunk.
        spans: (chunks) which samples of `found` a chunk has.
        names: (chunks) split of each chunk, and its number in that: what its shards are called.
        growths: What the chunks were cut by: the growth in each stretch of the samples.
        anywhere: Whether machines that have the source at different paths may make chunks of it together.
    """

    found: ChunkInput
    recipe: ChunkRecipe
    spans: Sequence[Span]
    names: Sequence[UnitName]
    growths: Sequence[Growth]
    anywhere: bool = False

    @property
    def num_chunks(self) -> int:
        return len(self.spans)

    def part(self, chunk: int) -> ChunkPart:
        """Return the samples of a chunk."""
        return self.found.part(self.spans[chunk])

    def source_bytes(self, chunk: int) -> int:
        """Return the payload bytes of a chunk's samples, before they change."""
        return self.found.span_bytes(self.spans[chunk])

    def digest(self, chunk: int, recipe_digest: str) -> str:
        """Return a digest of all that determines the shards of a chunk."""
        return self.found.span_digest(f"{chunk}\0{recipe_digest}", self.spans[chunk], anywhere=self.anywhere)


def plan_chunks(
    found: ChunkInput, recipe: ChunkRecipe, growths: Sequence[Growth], *, anywhere: bool = False
) -> ChunkPlan:
    """Return the plan. Reads nothing, and uses no fractions, so that it is the same everywhere.

    Args:
        found: The samples.
        recipe: What becomes of them.
        growths: How samples of each stretch grew: parts of `found` that have about as many samples each.
        anywhere: See `ChunkPlan`.
    """
    limits, growth = recipe.limits, sum(growths, Growth())
    aim_bytes = (limits.max_bytes - len(END_OF_ARCHIVE)) * _AIM[0] // _AIM[1]
    most = limits.max_samples
    if most is not None:
        if growth.new_samples != growth.samples:
            most = most * _AIM[0] * growth.samples // (_AIM[1] * max(1, growth.new_samples))
        most = max(1, most)
    spans = found.cut([one.ratio for one in growths], aim_bytes, most)
    return ChunkPlan(found, recipe, spans, number_units(map(found.split, spans)), growths, anywhere)


def growth_record(growths: Sequence[Growth], digest: str) -> dict[str, Any]:
    """Return what the plan's note holds, for `growths_of`."""
    return {"plan": digest, "growth": [list(astuple(growth)) for growth in growths]}


def growths_of(record: Mapping[str, Any] | None, digest: str) -> list[Growth] | None:
    """Return the growths that a note holds; None if it is of another plan, or damaged."""
    try:
        if record is None or record["plan"] != digest:
            return None
        return [Growth(*map(int, numbers)) for numbers in record["growth"]] or None
    except (KeyError, TypeError, ValueError):
        return None
