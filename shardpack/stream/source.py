"""What a stream reads from: the samples of a dataset or view, and the protocol by which either offers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

from shardpack.order.view import SampleView
from shardpack.read.shard_cache import ShardCache
from shardpack.runtime.arrays import Integers


@dataclass(frozen=True, eq=False)
class Source:
    """Samples of a dataset or view, and which of their fields are read.

    Attributes:
        shards: Where they lie.
        positions: Of a view, in its order; None for all.
        fields: Read only these; None for all.
    """

    shards: ShardCache
    positions: Integers | None = None
    fields: tuple[str, ...] | None = None

    @cached_property
    def view(self) -> SampleView:
        """The samples as the order of an epoch sees them."""
        return SampleView(self.shards.manifest.num_samples, self._shard_columns, self.positions)

    def _shard_columns(self) -> tuple[Integers, Integers]:
        columns = self.shards.shard_list.columns
        return columns.starts, columns.num_bytes

    @property
    def fingerprint(self) -> str:
        """Hash of the dataset (SPEC 6.3)."""
        return self.shards.manifest.fingerprint

    @property
    def generation(self) -> int:
        """Number of the dataset's manifest."""
        return self.shards.manifest.generation

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the fields that its samples may have, sorted."""
        return tuple(self.shards.manifest.samples_per_field) if self.fields is None else self.fields

    @property
    def mean_bytes(self) -> int:
        """Bytes of the mean sample, headers included; at least 1."""
        manifest = self.shards.manifest
        return max(1, manifest.num_bytes // max(1, manifest.num_samples))

    @property
    def prefetch_depth(self) -> int:
        """Requests worth having under way before their bytes are needed; 0 where the kernel reads ahead."""
        return self.shards.stores.prefetch_depth

    @property
    def is_remote(self) -> bool:
        """Whether reading waits for a network, so that it pays to read ahead."""
        return self.shards.stores.remote


@runtime_checkable
class Streamable(Protocol):
    """What streams, mixes and loaders take: a dataset or a view."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that any sample has."""
        ...

    def stream_source(self, fields: Sequence[str] | None = None) -> Source:
        """Return the samples to stream, with these fields only.

        Raises:
            FieldNotFoundError: No sample of the dataset has this field.
        """
        ...
