"""The options of packing, and what it reports back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shardpack.runtime.progress import Progress, no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    """Options of one packing run, all validated where they are used first.

    Attributes:
        force: Replace a dataset that is already there.
        recorded: Options that shape the output, for the manifest.
        classes: Class list for the manifest.
        progress: Called after each shard with ("pack", bytes done, bytes in all).
    """

    force: bool = False
    recorded: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True)
class PackReport:
    """What was packed, or with `dry_run` would be.

    Attributes:
        out: The dataset's folder, or its URL without secrets.
        num_samples, num_shards: Counts.
        num_bytes: Of all tars together.
        payload_bytes: Of all fields together; the rest is headers, padding and end blocks.
        largest_shard_bytes: Of the largest tar.
        resumed_shards: Shards that an earlier, unfinished run had already written.
        samples_per_field: How many samples have each field.
        layout: How the source was read: "classes", "files", "table", "coco", "dataset" or "samples".
        classes: Class names in label order, where the source has classes.
        by_class: Whether neighbours in the dataset share a class: shuffle, or pack with a seed.
        rejected: (name, reason) of samples left out because of `on_error="skip"`.
        left_out: Reason -> number of files that belong to no sample.
        seconds: Wall time.
        dry_run: Nothing was written.
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

    @property
    def overhead_bytes(self) -> int:
        """Headers, padding and end blocks."""
        return self.num_bytes - self.payload_bytes
