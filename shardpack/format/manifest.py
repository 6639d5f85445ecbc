"""The manifest, `.shardpack/manifest.json`: the value, which names every other file of a dataset (SPEC 6).

It is small for any number of shards, as the shard table lists them. `manifest_json` is its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shardpack.format.layout import MANIFEST_PATH, REJECTED_PATH, TABLE_SPLITS, NamedFile, file_path, manifest_path
from shardpack.format.paged import Segment

MAX_MANIFEST_BYTES = 16 << 20
MAX_LOCATION_LENGTH = 1024
OWN_FOLDER = "."  # location of tars in the dataset's own folder

# Where shards are: a URL with a host and without user, query and fragment; or a path with "/" as separator.
_LETTER = r"[^\\\x00-\x1f\x7f\ud800-\udfff]"
_URL = rf"[a-z][a-z0-9+.-]*://(?:(?![\s/@?#]){_LETTER})+(?:/(?:(?![?#]){_LETTER})*)?"
_LOCATION = re.compile(rf"{_URL}|(?!.*://){_LETTER}+")


@dataclass(frozen=True, slots=True)
class TableSegment(Segment):
    """One segment of the shard table, as the manifest names it."""

    num_shards: int
    num_samples: int


@dataclass(frozen=True, slots=True)
class KeySegment(Segment):
    """One segment of the key index, as the manifest names it."""

    num_keys: int


@dataclass(frozen=True, slots=True)
class AppendedSplits:
    """How samples that were appended after the splits were made fall into them: by the hash of their key.

    Attributes:
        of_samples: Number of stored samples when the splits were made; positions from it on fall by their hash, but
            for those in a range of the file of splits.
        ranges: Split -> half-open range of the upper 32 bits of the hash (SPEC 5.4).
        samples: Split -> number of stored samples that fell into it, where there are any.
    """

    of_samples: int
    ranges: Mapping[str, tuple[int, int]]
    samples: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SplitsFile:
    """The file of named splits, as the manifest names it.

    Attributes:
        name, num_bytes, crc32c: The file.
        samples: Split -> number of samples in its ranges, in the order of the splits.
        appended: How samples that were appended later fall into the splits; None if they are in none.
    """

    name: str
    num_bytes: int
    crc32c: int
    samples: Mapping[str, int]
    appended: AppendedSplits | None = None

    @property
    def totals(self) -> dict[str, int]:
        """Number of stored samples in each split, those included that fell into it by their hash."""
        fell = {} if self.appended is None else self.appended.samples
        return {name: count + fell.get(name, 0) for name, count in self.samples.items()}


@dataclass(frozen=True, slots=True)
class DeletedFile:
    """A file of deleted stored positions, as the manifest names it."""

    name: str
    num_bytes: int
    crc32c: int
    num_deleted: int


@dataclass(frozen=True, slots=True)
class PositionsFile:
    """The file of a layer that maps stored positions of the base to those of the layer, as the manifest names it."""

    name: str
    num_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer: a dataset whose samples replace or add fields of this one's, by key.

    Attributes:
        location: Folder of the layer, as seen from this dataset's.
        generation, num_bytes, crc32c: Of the layer's manifest.
        fields: The fields that it gives, sorted.
        positions: Which of its samples belongs to which stored position of the base.
    """

    location: str
    generation: int
    num_bytes: int
    crc32c: int
    fields: tuple[str, ...]
    positions: PositionsFile


@dataclass(frozen=True, slots=True)
class TableFile:
    """A file of the label table, as the manifest names it: rows of positions that follow one another, or others."""

    name: str
    num_bytes: int
    crc32c: int
    num_samples: int

    @property
    def has_splits_only(self) -> bool:
        """Whether it says in which splits samples are, and nothing else."""
        return self.name.startswith(TABLE_SPLITS)


@dataclass(frozen=True, slots=True)
class Parent:
    """The manifest that this one was derived from."""

    generation: int
    num_bytes: int
    crc32c: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The manifest of one generation of a dataset.

    Attributes:
        generation: 1 when packed, incremented by each edit.
        fingerprint: Identifies the contents of shards, deleted and layers (`fingerprint.py`).
        num_samples, num_bytes, num_shards: Totals over all shards; deleted samples are included.
        samples_per_field: How many stored samples of the shards have each field, fields sorted.
        locations: Where the tars are: paths relative to the dataset's folder, or URLs. A shard refers to
            its location by index into this tuple.
        table_segments, key_segments: Segments of the shard table and of the key index, in order.
        unique_keys: Whether each key names one sample.
        classes: Class names in label order, or None.
        splits: The file of named splits; None if there are none.
        deleted: Files of deleted stored positions.
        layers: Layers, of which the last wins.
        table: Files of the label table: base files in the order of stored positions, then patches, then files
            of splits (SPEC 5.7).
        packed_with: Version of shardpack and options that determined the bytes.
        parent: The previous generation, or None.
    """

    generation: int = 1
    fingerprint: str
    num_samples: int
    num_bytes: int
    num_shards: int
    samples_per_field: Mapping[str, int]
    locations: tuple[str, ...] = (OWN_FOLDER,)
    table_segments: tuple[TableSegment, ...]
    key_segments: tuple[KeySegment, ...]
    unique_keys: bool = True
    classes: tuple[str, ...] | None = None
    splits: SplitsFile | None = None
    deleted: tuple[DeletedFile, ...] = ()
    layers: tuple[LayerRef, ...] = ()
    table: tuple[TableFile, ...] = ()
    packed_with: Mapping[str, Any] = field(default_factory=dict)
    parent: Parent | None = None

    def option(self, name: str) -> Any:
        """Return an option that the dataset was packed with, as JSON has it; None if that is not recorded."""
        options = self.packed_with.get("options")
        return options.get(name) if isinstance(options, dict) else None

    @property
    def num_deleted(self) -> int:
        """Number of deleted samples."""
        return sum(file.num_deleted for file in self.deleted)

    @property
    def num_visible(self) -> int:
        """Number of samples that are not deleted: what users count."""
        return self.num_samples - self.num_deleted

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields, of the shards and of the layers, sorted."""
        return tuple(sorted({*self.samples_per_field, *(name for layer in self.layers for name in layer.fields)}))

    @property
    def files(self) -> tuple[NamedFile, ...]:
        """All files in `.shardpack` that it names: segments, splits, deleted, positions of layers, table."""
        return (
            *self.table_segments,
            *self.key_segments,
            *([] if self.splits is None else [self.splits]),
            *self.deleted,
            *(layer.positions for layer in self.layers),
            *self.table,
        )

    @property
    def metadata_paths(self) -> list[str]:
        """Paths of the manifest and of all files that belong to it, except shards and their indexes."""
        return [*map(file_path, self.files), REJECTED_PATH, manifest_path(self.generation), MANIFEST_PATH]


def is_location(text: str) -> bool:
    """Return whether a manifest may name this location."""
    return len(text) <= MAX_LOCATION_LENGTH and _LOCATION.fullmatch(text) is not None
