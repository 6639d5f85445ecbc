"""What indexing found: values that tell people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that names two samples: where each begins."""

    key: str
    shard: str
    offset: int
    first_shard: str
    first_offset: int

    def __str__(self) -> str:
        return f"{self.key!r} in {self.shard!r} at {self.offset}, after {self.first_shard!r} at {self.first_offset}"


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What was indexed.

    Attributes:
        out: Folder or URL of the manifest.
        num_samples, num_shards, num_bytes: Totals.
        samples_per_field: How many samples have each field.
        repeated: Keys that name two samples, in the order found.
        without_key: Files in the tars that belong to no sample, by their names.
        ignored: How many files each pattern of `ignore` made us ignore.
        changed: Tars that are not as the manifest before described them; only with `force`.
        without_checksums: Tars whose payloads were not read, so that nobody can check them.
        resumed: Tars whose index was there already, from a run that was cut off.
        bytes_fetched: Bytes that were read: of the tars, and a few to see that nobody else indexes them.
        seconds: Wall time.
    """

    out: str
    num_samples: int
    num_shards: int
    num_bytes: int
    samples_per_field: dict[str, int] = field(default_factory=dict)
    repeated: Sequence[RepeatedKey] = ()
    without_key: int = 0
    ignored: dict[str, int] = field(default_factory=dict)
    changed: Sequence[str] = ()
    without_checksums: int = 0
    resumed: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0
