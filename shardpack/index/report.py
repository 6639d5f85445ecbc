"""What `index` returns, and the repeated keys in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RepeatedKey:
    """A key that names two samples, with the shard and offset at which each of them starts."""

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
        out: Folder or URL that holds the manifest.
        num_samples, num_shards, num_bytes: Totals; the bytes are those of the tars.
        samples_per_field: How many samples have each field.
        repeated: Keys that name two samples, in the order found.
        without_key: How many files are part of no sample, as their names have no key and field.
        ignored: How many files each pattern of `ignore` matched; patterns that matched none are left out.
        changed: Names of tars that differ from their description in the previous manifest; only with `force`.
        without_checksums: How many tars have no checksums, as their payloads were not read.
        resumed: How many tars an interrupted run had already indexed.
        bytes_fetched: How many bytes were read: of the tars, and a few of the lease.
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
