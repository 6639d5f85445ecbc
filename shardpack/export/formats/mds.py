"""MDS, which MosaicML Streaming reads: shards with an index of their own.

    OUT/[<split>/]index.json             what all shards have: columns, encodings, lengths
    OUT/[<split>/]shard.00000.mds

Columns: `__key__` (str); `image` (jpeg or png if all are, otherwise bytes); other payloads (jpeg, png, bytes; without
any where a sample lacks it); each value of a label: int, float64, str, or json where it is missing in samples or is a
list or object. A shard:

    u32 samples | u32 offset of each sample, and of the end | JSON of the columns | the samples
    sample: u32 length of each value of no fixed length, then the values, in the order of the names of columns

All numbers are little-endian; lengths and offsets count from the start of the file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ClassVar

import numpy as np

from shardpack.codecs.field_types import kind_of
from shardpack.codecs.label_types import LabelType
from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.roles import Roles
from shardpack.export.staging import ExportFiles
from shardpack.export.table import IMAGE, KEY, Row, Table, table_of
from shardpack.read.sample import Sample

_MOST_BYTES = 1 << 30  # a shard is held in memory while it is made; its offsets end at 4 GiB
_FIXED = {"int": 8, "float64": 8}
_ENCODINGS = {"int": "int", "long": "int", "float": "float64", "str": "str"}
_IMAGES = {"jpg": "jpeg", "jpeg": "jpeg", "png": "png"}


@dataclass(frozen=True, slots=True)
class MdsExporter:
    """Writes MDS shards. `encodings` are (column, encoding), sorted."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = None
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    names_classes: ClassVar[bool] = False
    limits: ClassVar[Limits] = Limits(max_bytes=64 << 20)

    table: Table
    encodings: tuple[tuple[str, str], ...]
    max_bytes: int

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> MdsExporter:
        """Decide about the columns; see `Exporter.prepare`."""
        max_bytes = options.max_file_bytes or cls.limits.max_bytes
        if max_bytes > _MOST_BYTES:
            raise OptionError(f"max_file_bytes is {max_bytes}; a shard of mds has at most 1GiB")
        table = table_of(contents, options)
        counts, total = contents.samples_per_field, contents.num_samples
        encodings = {KEY: "str"}
        if table.roles.image:
            encodings[IMAGE] = _image_encoding(table.roles, counts, total)
        for field, column in table.payloads:
            encodings[column] = _IMAGES.get(kind_of(field), "bytes") if counts[field] == total else "bytes"
        for name, kind in table.types:
            encodings[name] = _encoding(kind) if name in table.always else "json"
        return cls(table, tuple(sorted(encodings.items())), max_bytes)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.table.roles.fields

    @property
    def sentence(self) -> str:
        return "columns are " + ", ".join(f"{column} ({encoding})" for column, encoding in self.encodings)

    def row_maker(self) -> Callable[[Sample], bytes]:
        """Return the function that encodes a sample."""
        make, encodings = self.table.row_maker(), self.encodings

        def encode(sample: Sample) -> bytes:
            row = make(sample)
            lengths, values = [], []
            for column, encoding in encodings:
                value = _encoded(row, column, encoding)
                if encoding not in _FIXED:
                    lengths.append(len(value))
                values.append(value)
            return b"".join((np.array(lengths, "<u4").tobytes(), *values))

        return encode

    def write(self, part: Part, rows: Iterator[bytes], files: ExportFiles) -> Note:
        """Write one shard."""
        samples = list(rows)
        config = json.dumps(self._config(), sort_keys=True).encode()
        first = 4 + 4 * (len(samples) + 1) + len(config)
        offsets = first + np.cumsum([0, *map(len, samples)], dtype=np.int64)
        if offsets[-1] >= 1 << 32:
            raise OptionError("a shard would exceed 4 GiB, the end of its offsets; choose a smaller max_file_bytes")
        name = _name(part)
        top = () if part.split is None else (part.split,)
        with open(files.create(*top, name), "wb") as file:
            file.writelines((struct.pack("<I", len(samples)), offsets.astype("<u4").tobytes(), config, *samples))
        return {"samples": len(samples), "bytes": int(offsets[-1])}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write the index of each split."""
        for split, group in groupby(zip(parts, notes, strict=True), key=lambda pair: pair[0].split):
            shards = [
                {
                    **self._config(),
                    "hashes": [],
                    "raw_data": {"basename": _name(part), "bytes": note["bytes"], "hashes": {}},
                    "samples": note["samples"],
                    "version": 2,
                    "zip_data": None,
                }
                for part, note in group
            ]
            with open(files.create(*([] if split is None else [split]), "index.json"), "w", encoding="utf-8") as file:
                json.dump({"shards": shards, "version": 2}, file, sort_keys=True)

    def _config(self) -> dict[str, Any]:
        encodings = [encoding for _, encoding in self.encodings]
        return {
            "column_encodings": encodings,
            "column_names": [column for column, _ in self.encodings],
            "column_sizes": [_FIXED.get(encoding) for encoding in encodings],
            "compression": None,
            "format": "mds",
            "hashes": [],
            "size_limit": self.max_bytes,
        }


def _name(part: Part) -> str:
    return f"shard.{part.index:05d}.mds"


def _image_encoding(roles: Roles, counts: Mapping[str, int], total: int) -> str:
    """Return the encoding of the image: that of its kind, if all samples have one of that kind."""
    kinds = {_IMAGES.get(field, "bytes") for field in roles.image}
    return kinds.pop() if len(kinds) == 1 and sum(counts[field] for field in roles.image) == total else "bytes"


def _encoding(kind: LabelType) -> str:
    return _ENCODINGS.get(kind.name, "json")


def _encoded(row: Row, column: str, encoding: str) -> bytes:
    """Return a value as its encoding stores it."""
    if column == KEY:
        return row.key.encode()
    if column in row.payloads:
        return row.payloads[column][1]
    if encoding in ("bytes", "jpeg", "png"):
        if encoding != "bytes":
            raise ExportError(f"column {column!r} holds {encoding} images, and the sample has none")
        return b""
    value = row.values.get(column)
    if encoding == "json":
        return json.dumps(value).encode()
    if value is None:
        raise ExportError(f"column {column!r} holds values of type {encoding}, got null")
    if encoding == "int":
        return struct.pack("<q", value)
    return struct.pack("<d", value) if encoding == "float64" else value.encode()
