"""What chunks are cut from: a listing, or rows of a foreign format. Two kinds, which planning and packing treat alike.

ListedInput   samples first <= i < stop of a listing   listed_input.py
RowInput      rows of units of a `RowSource`           row_input.py
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from shardpack.write.apply_steps import Failure
from shardpack.write.part_plan import PlanMembers
from shardpack.write.transform import Counts, KeyedFields

BATCH_BYTES, BATCH_SAMPLES = 4 << 20, 64  # read and transformed at once

Ratio = tuple[int, int]  # a positive fraction
Span = Any  # which samples make a chunk; a value of the input that cut it


class SampleName(NamedTuple):
    """What an error says of a sample: its key and its file, as far as they are known.

    Attributes:
        name: For the list of rejected samples: the path, or the key.
        key: The key, or None.
        path: The file, or the file and record, or None.
    """

    name: str
    key: str | None
    path: str | None


class Batch(Protocol):
    """Samples that are transformed together, in memory.

    Attributes:
        samples: (n) each sample, or why it could not be read.
        num_bytes: Length of their payloads in the source.
        counts: What happened while they were read, for the report.
    """

    @property
    def samples(self) -> Sequence[KeyedFields | Failure]: ...

    @property
    def num_bytes(self) -> int: ...

    @property
    def counts(self) -> Counts: ...

    def name(self, number: int) -> SampleName:
        """Return what names a sample."""
        ...

    def planned_bytes(self, number: int) -> int:
        """Return what the plan takes a sample for; chunks are cut by sums of that."""
        ...


class ChunkPart(Protocol):
    """Some samples, on their way to where they are read. Pickles."""

    @property
    def title(self) -> str:
        """What is read, for the message that a worker has died while it read it."""
        ...

    def batches(self) -> Iterator[Batch]:
        """Yield the samples in order, a few MiB at once.

        Raises:
            SourceError: They cannot be read; or the source has changed.
            ShardpackError: A store cannot be read.
        """
        ...

    def probe(self) -> None:
        """Read the least that shows whether this machine reaches the samples. Raises as `batches`, or OSError."""
        ...


class ChunkInput(Protocol):
    """All samples, in the order of packing, those of a split together.

    Attributes:
        classes: Class names in label order, or None.
        num_samples: How many there are; None if only reading all of them tells.
        source_bytes: Length of their payloads, at least as an estimate.
        planned_bytes: What the plan takes all samples for together.
        members: What parts of a plan compare.
    """

    @property
    def classes(self) -> tuple[str, ...] | None: ...

    @property
    def num_samples(self) -> int | None: ...

    @property
    def source_bytes(self) -> int: ...

    @property
    def planned_bytes(self) -> int: ...

    @property
    def members(self) -> PlanMembers: ...

    def digest(self, *, anywhere: bool = False) -> str:
        """Return a digest of all samples; with `anywhere`, without the path that this machine has them at."""
        ...

    def drawn(self) -> Iterator[tuple[int, ChunkPart]]:
        """Yield (stretch, some of its samples), drawn evenly, by which growth is measured; stretches ascend from 0."""
        ...

    def cut(self, ratios: Sequence[Ratio], max_bytes: int, max_samples: int | None) -> Sequence[Span]:
        """Return the chunks: of one split, at most so many bytes and samples, but one sample at least.

        Args:
            ratios: How many times as long samples become, of each stretch.
            max_bytes: Limit of what the samples of a chunk become together.
            max_samples: Limit of their number; None for none.
        """
        ...

    def split(self, span: Span) -> str | None:
        """Return the split of a chunk."""
        ...

    def span_bytes(self, span: Span) -> int:
        """Return the length of a chunk's payloads in the source, at least as an estimate."""
        ...

    def span_digest(self, name: str, span: Span, *, anywhere: bool = False) -> str:
        """Return a digest of a name and all that determines the samples of a chunk."""
        ...

    def part(self, span: Span) -> ChunkPart:
        """Return the samples of a chunk."""
        ...

    def first_part(self) -> ChunkPart:
        """Return the first sample, for `probe`."""
        ...

    def shown(self, count: int) -> Iterator[tuple[str | None, ChunkPart]]:
        """Yield (split, one sample) for at most `count` samples, for a preview: the first, and others evenly drawn."""
        ...

    def compared(self, spans: Sequence[Span], count: int) -> Iterator[tuple[int, ChunkPart]]:
        """Yield (chunk, one sample of it) for at most `count` evenly drawn samples of these chunks."""
        ...
