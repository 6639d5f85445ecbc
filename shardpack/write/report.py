"""What packing reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed, or what a run without `dry_run` would pack.

    Attributes:
        out: The dataset's folder, or its URL without secrets.
        num_samples, num_shards: Counts.
        num_bytes: Total length of the shards; with `dry_run`, before they are compressed.
        payload_bytes: Total length of the payloads; the rest of `tar_bytes` is headers, padding and end blocks.
        largest_shard_bytes: Length of the longest shard.
        tar_bytes: Total length of the tars before they are compressed.
        resumed_shards: Number of shards that an earlier, unfinished run had already written.
        samples_per_field: How many samples have each field.
        layout: How the source was read: "classes", "files", "table", "coco", "dataset" or "samples".
        classes: Class names in label order, or None.
        by_class: Whether neighbouring samples mostly share a class; if so, pack with a seed, or shuffle when reading.
        rejected: (name, reason) of each sample left out because of `on_error="skip"`.
        left_out: Reason -> number of files that belong to no sample.
        seconds: Wall time.
        dry_run: Whether nothing was written.
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    payload_bytes: int
    largest_shard_bytes: int = 0
    resumed_shards: int = 0
    samples_per_field: Mapping[str, int] = field(default_factory=dict)
    layout: str = "samples"
    classes: Sequence[str] | None = None
    by_class: bool = False
    rejected: Sequence[tuple[str, str]] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
    tar_bytes: int = 0

    @property
    def overhead_bytes(self) -> int:
        """Headers, padding and end blocks, before compression."""
        return (self.tar_bytes or self.num_bytes) - self.payload_bytes

    @property
    def ratio(self) -> float:
        """Length of the shards, divided by that of their tars: 1.0 unless they are compressed."""
        return self.num_bytes / self.tar_bytes if self.tar_bytes else 1.0
