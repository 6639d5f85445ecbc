"""What some samples will be, for a run that writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shardpack.codecs.field_types import kind_of
from shardpack.sources.listing import Listing
from shardpack.sources.payloads import read_listed
from shardpack.sources.splits import split_of
from shardpack.write.apply_steps import Made
from shardpack.write.chunk_input import ChunkInput
from shardpack.write.chunk_plan import ChunkRecipe
from shardpack.write.listed_input import shown_numbers
from shardpack.write.pack_chunk import applier_of, close_applier, outcomes

SHOWN_SAMPLES = 3
SHOWN_TEXT = 2000  # characters of a label


@dataclass(frozen=True, slots=True)
class SamplePreview:
    """A sample as it would be packed.

    Attributes:
        key: Its key.
        split: Its split, or None.
        fields: Length of each field in bytes.
        labels: Text of the fields that are JSON or plain text, at most `SHOWN_TEXT` characters of each.
    """

    key: str
    split: str | None
    fields: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def preview(listing: Listing) -> tuple[SamplePreview, ...]:
    """Return the first sample, the last, and one between, packed as they are; reads their payloads.

    Raises:
        SourceError: A payload cannot be read.
    """
    return tuple(
        shown
        for sample in shown_numbers(listing.num_samples, SHOWN_SAMPLES)
        for shown in of_samples(read_listed(listing, sample, sample + 1), split_of(listing, sample))
    )


def preview_chunked(found: ChunkInput, recipe: ChunkRecipe) -> tuple[SamplePreview, ...]:
    """Return what some samples become, the first among them; reads them.

    Raises:
        SourceError: They cannot be read. One that fails is left out.
    """
    shown: list[SamplePreview] = []
    try:
        for split, part in found.shown(SHOWN_SAMPLES):
            for batch in part.batches():
                for _, outcome in outcomes(applier_of(recipe.application), batch):
                    shown += of_samples(outcome.samples if isinstance(outcome, Made) else [], split)
    finally:
        close_applier()
    return tuple(shown)


def of_samples(samples: Iterable[tuple[str, Mapping[str, bytes]]], split: str | None = None) -> Sequence[SamplePreview]:
    """Return what samples of payloads look like."""
    return [
        SamplePreview(
            key,
            split,
            {name: len(payload) for name, payload in sorted(fields.items())},
            {
                name: _text(payload)
                for name, payload in sorted(fields.items())
                if kind_of(name) in ("json", "txt", "cls")
            },
        )
        for key, fields in samples
    ]


def _text(payload: bytes) -> str:
    text = payload[: 4 * SHOWN_TEXT].decode(errors="replace")  # at most four bytes a character
    return text if len(text) <= SHOWN_TEXT else text[: SHOWN_TEXT - 3] + "..."
