"""`ArrayBatch`: a batch of nothing but arrays that are stored alike, copied out of maps into the batch.

It does what a `BatchBuilder` does for samples, of which it makes none: that takes as long as a
third of the copies (150 KB each, 2-core VM, 2026-11-22).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shardpack.codecs.arrays import RowCopies
from shardpack.codecs.decode import ArrayDecoder, needs_frame
from shardpack.stream.batch_builder import BatchSpec
from shardpack.stream.mapped_steps import MappedStep


def has_only_arrays(spec: BatchSpec) -> bool:
    """Return whether batches have only arrays, which nothing changes."""
    if spec.transform is not None or needs_frame(spec.decoders, spec.images):
        return False
    return bool(spec.fields) and all(isinstance(spec.decoders.get(name), ArrayDecoder) for name in spec.fields)


@dataclass(slots=True, eq=False)
class ArrayBatch:
    """Copies one batch, part by part.

    Attributes:
        keys: The keys of the samples.
        columns: By field, the array that `build_items` fills.
        copies: What it copies.
        skipped: No sample is bad.
    """

    keys: list[str]
    columns: dict[str, Any]
    copies: list[RowCopies]
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.keys)

    def build_items(self, run: range) -> None:
        """Copy the arrays of some samples that follow one another."""
        for copies in self.copies:
            copies.copy(run)

    def build(self) -> dict[str, Any]:
        """Return the batch, and keep nothing of it."""
        batch = {"__key__": self.keys, **self.columns}
        self.copies.clear()
        self.columns.clear()
        return batch


def array_batch(spec: BatchSpec, step: MappedStep) -> ArrayBatch | None:
    """Return the batch of a step; None unless the arrays of each field are stored alike."""
    batch = ArrayBatch(step.keys(), {}, [])
    for name in spec.fields:
        decode, payloads = spec.decoders[name], step.payloads(name)
        assert isinstance(decode, ArrayDecoder)
        rows = decode.out_rows(len(step), payloads[0], spec.empty)
        copies = None if rows is None else decode.row_copies(payloads, rows)
        if copies is None:
            return None
        batch.columns[name] = decode.finished(rows)
        batch.copies.append(copies)
    return batch
