"""What a stream reads: the samples of a dataset or view, and the protocol by which both offer them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from shardpack.errors import ShardpackError
from shardpack.format.frames import COMPRESSED_SUFFIX
from shardpack.order.positions import Positions
from shardpack.order.view import SampleView
from shardpack.read.layered_plan import wanted_layers
from shardpack.read.shard_cache import ShardCache
from shardpack.read.shard_reader import LARGE_SAMPLE_BYTES
from shardpack.runtime.arrays import Integers

_EXAMINED = 4  # compressed shards that tell what all hold


@dataclass(frozen=True, eq=False)
class StreamInput:
    """Samples of a dataset or view, and which of their fields are read.

    Attributes:
        cache: The open shards of the dataset.
        positions: Stored positions of a view, in its order; None for all samples that are visible.
        wanted_fields: Read only these fields; None for all.
    """

    cache: ShardCache
    positions: Positions | None = None
    wanted_fields: tuple[str, ...] | None = None

    @cached_property
    def view(self) -> SampleView:
        """The samples as the order of an epoch sees them."""
        cache = self.cache
        return SampleView(cache.manifest.num_samples, self._shard_columns, self.positions, visible=cache.visible)

    def _shard_columns(self) -> tuple[Integers, Integers]:
        columns = self.cache.shard_list.columns
        return columns.starts, columns.num_bytes

    @property
    def fingerprint(self) -> str:
        """Hash of the dataset (SPEC 6.3)."""
        return self.cache.manifest.fingerprint

    @property
    def generation(self) -> int:
        """Number of the dataset's manifest."""
        return self.cache.manifest.generation

    @property
    def identity(self) -> dict[str, Any]:
        """The entries of a state that identify the dataset and the view of it (SPEC 7.5)."""
        return {"fingerprint": self.fingerprint, "generation": self.generation, "view": self.view.digest}

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that the samples may have, sorted."""
        return self.cache.manifest.fields if self.wanted_fields is None else self.wanted_fields

    @property
    def mean_bytes(self) -> int:
        """Mean bytes per sample in memory, headers included; at least 1."""
        manifest = self.cache.manifest
        of_layers = sum(  # one that only replaces fields counts as what it replaces
            layer.cache.manifest.num_bytes
            for layer in wanted_layers(self.cache, self.wanted_fields)
            if not manifest.samples_per_field.keys() >= set(layer.ref.fields)
        )
        return max(1, (int(self.expansion * manifest.num_bytes) + of_layers) // max(1, manifest.num_samples))

    @cached_property
    def _caches(self) -> list[ShardCache]:
        """The shards of the base, then those of the layers that are read."""
        return [self.cache, *(layer.cache for layer in wanted_layers(self.cache, self.wanted_fields))]

    def count_mapped(self, num_bytes: int) -> None:
        """Count bytes read through maps; see `ShardCache.count_mapped`."""
        for cache in self._caches:
            cache.count_mapped(num_bytes)

    @cached_property
    def expansion(self) -> float:
        """How many bytes in memory a stored byte stands for: 1 unless shards are compressed, else as in a few of them.

        Only decides how much is read at once. To look at shards costs their indexes, and is left to datasets in which
        some are compressed.
        """
        shards = self.cache.shard_list
        numbers = np.unique(np.linspace(0, len(shards) - 1, _EXAMINED, dtype=np.int64)).tolist() if len(shards) else []
        if not self._may_be_compressed or not any(shards[n].name.endswith(COMPRESSED_SUFFIX) for n in numbers):
            return 1.0
        try:
            indexes = [shard.index for shard in self.cache.load(numbers)]
        except ShardpackError:
            return 1.0  # a sample of that shard will say what is wrong with it
        return max(1.0, sum(index.plain_bytes for index in indexes) / sum(index.shard_bytes for index in indexes))

    @property
    def _may_be_compressed(self) -> bool:
        """Whether the manifest leaves it open that shards are compressed, so that their names must tell."""
        manifest = self.cache.manifest
        if manifest.option("indexed") or not isinstance(manifest.packed_with.get("options"), dict):
            return True
        return self._is_packed_compressed

    @property
    def _is_packed_compressed(self) -> bool:
        compress = self.cache.manifest.option("compress")
        return isinstance(compress, dict) and "shards" in compress

    @cached_property
    def is_cut_from_frames(self) -> bool:
        """Whether samples that come as stored are best cut out of one frame after the other.

        They are where shards were packed in frames, each of which holds whole samples, if these are small and local,
        and neither verified nor edited by layers.
        """
        cache = self.cache
        if self.is_remote or cache.verify or cache.manifest.layers or self.mean_bytes > LARGE_SAMPLE_BYTES:
            return False
        return self._is_packed_compressed and not cache.manifest.option("indexed")

    @property
    def prefetch_depth(self) -> int:
        """Requests worth having under way before their bytes are needed; 0 where the kernel reads ahead."""
        return max(cache.stores.prefetch_depth for cache in self._caches)

    @property
    def is_remote(self) -> bool:
        """Whether reading waits for a network, so that reading ahead pays."""
        return any(cache.stores.remote for cache in self._caches)


class Placed(NamedTuple):
    """Where the samples of a stream are stored, in its order.

    Attributes:
        inputs: The datasets that it reads.
        sources: (n) which of them each sample is from.
        positions: (n) stored position of each sample there.
    """

    inputs: tuple[StreamInput, ...]
    sources: Integers
    positions: Integers


@runtime_checkable
class Streamable(Protocol):
    """What streams, mixes and loaders take: a dataset or a view."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields that any sample has."""
        ...

    def stream_input(self, fields: Sequence[str] | None = None) -> StreamInput:
        """Return the samples to stream, with these fields only.

        Raises:
            FieldNotFoundError: No sample of the dataset has this field.
        """
        ...
