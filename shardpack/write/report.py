"""`PackReport`: what `shardpack.pack` returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shardpack.write.preview import SamplePreview


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed, or what a run without `dry_run` would pack.

    Attributes:
        out: The dataset's folder, or its URL without secrets.
        num_samples, num_shards: Counts; with `dry_run`, estimated if payloads change while they are packed, as are the
            lengths.
        num_bytes: Total length of the shards; with `dry_run`, before they are compressed.
        payload_bytes: Total length of the payloads; the rest of `tar_bytes` is headers, padding and end blocks.
        largest_shard_bytes: Length of the longest shard.
        tar_bytes: Total length of the tars before they are compressed.
        resumed_shards: Number of shards that an earlier, unfinished run had already written; of a part, only its own.
        missing_shards: Number of shards that other parts have not finished yet; while there are any, nothing is
            published, `num_bytes` is as planned, before compression, and the other counts are those of all parts. If
            payloads change while they are packed, it counts one shard for each missing chunk, and all other counts are
            those of the finished chunks; of a part that finds all published, nothing is known of the source.
        samples_per_field: How many samples have each field.
        splits: How many samples each split has; {} if there are none.
        layout: How the source was read: the name of a layout, "dataset" or "samples".
        found: What was found in the source and what a sample is, in one line; "" for samples from code.
        classes: Class names in label order, or None.
        by_class: Whether neighbouring samples mostly share a class; if so, pack with a seed, or shuffle when reading.
        rejected: (name, reason) of each sample left out because of `on_error="skip"`.
        left_out: Reason -> number of files that belong to no sample.
        seconds: Wall time.
        dry_run: Whether nothing was written.
        preview: With `dry_run`, the first sample, the last and one between, as they would be packed.
        source_samples, source_bytes: How many samples the source has, and the length of their payloads there.
        kept, dropped: How many of them became something, and how many the transform dropped. The others failed.
        counts: What the steps counted, such as "encoded.json" -> values that the transform returned in a field, and
            "image.encoded", "image.kept", "image.bytes_before", "image.bytes_after", "mask.moved", "label.moved".
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    payload_bytes: int
    largest_shard_bytes: int = 0
    resumed_shards: int = 0
    samples_per_field: Mapping[str, int] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    layout: str = "samples"
    found: str = ""
    classes: Sequence[str] | None = None
    by_class: bool = False
    rejected: Sequence[tuple[str, str]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
    tar_bytes: int = 0
    missing_shards: int = 0
    source_samples: int = 0
    source_bytes: int = 0
    kept: int = 0
    dropped: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    preview: Sequence[SamplePreview] = ()

    @property
    def overhead_bytes(self) -> int:
        """Headers, padding and end blocks, before compression."""
        return (self.tar_bytes or self.num_bytes) - self.payload_bytes

    @property
    def samples_per_second(self) -> float:
        """Samples of the source per second of wall time; 0.0 if an earlier run had finished some."""
        return 0.0 if self.resumed_shards or not self.seconds else self.source_samples / self.seconds

    @property
    def ratio(self) -> float:
        """Length of the shards, divided by that of their tars: 1.0 unless they are compressed."""
        return self.num_bytes / self.tar_bytes if self.tar_bytes else 1.0
