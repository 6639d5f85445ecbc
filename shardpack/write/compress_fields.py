"""`CompressFields`: some fields of each sample are stored compressed, under their name and a suffix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from shardpack.codecs.compression import Compression, split_compression
from shardpack.codecs.encode import encode_field
from shardpack.codecs.zstd import zstd_versions
from shardpack.errors import OptionError
from shardpack.write.transform import ENCODED, Counts, Fields, KeyedFields

SHARDS = "shards"  # whole shards, not a field: see `shard_compression.py`


@dataclass(frozen=True, slots=True)
class CompressFields:
    """A transform that makes `json.zst` of `json`, for the fields that it names.

    Attributes:
        by_field: How each of them is compressed; samples may lack some.
    """

    by_field: Mapping[str, Compression]

    @classmethod
    def parse(cls, compress: Mapping[str, str] | None) -> CompressFields:
        """Return what `{"json": "zstd:9"}` says of fields; None and an empty dict compress nothing.

        Raises:
            OptionError: A compression is unknown, or a field is compressed already.
            MissingDependencyError: zstandard is not installed.
        """
        options = {} if compress is None else compress
        if not isinstance(options, Mapping):
            raise OptionError(f'compress is {options!r}, expected a dict such as {{"json": "zstd:9"}}')
        by_field = {name: text for name, text in options.items() if name != SHARDS}
        for name in by_field:
            if not isinstance(name, str) or split_compression(name)[1] is not None:
                raise OptionError(f"compress names {name!r}, expected a field that is not compressed yet")
        found = cls({name: Compression.parse(text) for name, text in by_field.items()})
        found.versions()  # raises if the library is missing
        return found

    def recorded(self) -> dict[str, str] | None:
        """Return the option for the manifest, level included; None if nothing is compressed."""
        return {name: f"zstd:{how.level}" for name, how in sorted(self.by_field.items())} or None

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries that decide the compressed bytes."""
        return zstd_versions() if self.by_field else {}

    def describe(self) -> Mapping[str, Any]:
        """Return what decides the bytes, library versions included."""
        return {"step": "compress", "fields": {name: how.describe() for name, how in sorted(self.by_field.items())}}

    def __call__(self, key: str, fields: Fields, counts: Counts, /) -> Iterable[KeyedFields]:
        """Return the sample with fields compressed; counts the values that were encoded, by field.

        Raises:
            OptionError: A value cannot be stored, or the sample has the compressed field already.
        """
        return ((key, dict(self._stored(name, value, fields, counts) for name, value in fields.items())),)

    def _stored(self, name: str, value: Any, fields: Fields, counts: Counts) -> tuple[str, Any]:
        how = self.by_field.get(name)
        if how is None:
            return name, value
        stored = f"{name}.{how.suffix}"
        if stored in fields:
            raise OptionError(
                f"a sample has both {name!r} and {stored!r}, which {name!r} is to be stored as; leave one out"
            )
        payload = encode_field(name, value)
        if not isinstance(value, (bytes, bytearray, memoryview)):
            counts[ENCODED + name] += 1
        return stored, how.compress(payload)
