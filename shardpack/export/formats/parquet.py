"""Parquet as Hugging Face reads it: `load_dataset(folder)` finds the splits, images and class names.

    OUT/data/<split>-00000-of-00004.parquet        without splits: train-00000-of-00004.parquet

    __key__  text             each payload of an image: struct<bytes: binary, path: string>, other payloads: binary
    each value of a label by its type over all samples: bool, int64, double, string, list<...>, struct<...>; what has no
    such type is JSON text

The schema says which columns are images, and the names of classes. Row groups are small, so that a viewer shows any row
after reading little.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.codecs.field_types import is_image
from shardpack.codecs.label_types import LabelType, converter_to
from shardpack.errors import MissingDependencyError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.staging import ExportFiles
from shardpack.export.table import IMAGE, KEY, Row, Table, table_of
from shardpack.read.sample import Sample

_GROUP_ROWS, _GROUP_BYTES = 100, 64 << 20
_NO_SPLIT = "train"  # what readers call files that name no split


@dataclass(frozen=True, slots=True)
class ParquetExporter:
    """Writes Parquet files. `version` is that of the library, whose files differ between versions."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = None
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    limits: ClassVar[Limits] = Limits(max_bytes=500_000_000)

    table: Table
    version: str

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> ParquetExporter:
        """Decide about the columns; see `Exporter.prepare`."""
        return cls(table_of(contents, options, names_classes=True), _pyarrow()[0].__version__)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.table.roles.fields

    @property
    def names_classes(self) -> bool:
        return self.table.classes is not None

    @property
    def sentence(self) -> str:
        return f"a row has {self.table.sentence}"

    def row_maker(self) -> Callable[[Sample], Row]:
        """Return the function that makes a row of a sample, whose values fit the types of the columns."""
        make = self.table.row_maker()
        converters = {name: convert for name, kind in self.table.types if (convert := converter_to(kind)) is not None}

        def row(sample: Sample) -> Row:
            made = make(sample)
            for name in converters.keys() & made.values.keys():
                made.values[name] = converters[name](made.values[name])
            return made

        return row if converters else make

    def write(self, part: Part, rows: Iterator[Row], files: ExportFiles) -> Note:
        """Write one file."""
        arrow, parquet = _pyarrow()
        schema = self._schema(arrow)
        path = files.create("data", f"{part.split or _NO_SPLIT}-{part.index:05d}-of-{part.count:05d}.parquet")
        values = [name for name, _ in self.table.types]
        images = self._image_columns()
        # Payloads are compressed already: dictionaries and smallest values of them would only cost time and space.
        with parquet.ParquetWriter(
            path, schema, compression="snappy", use_dictionary=values, write_statistics=[KEY, *values]
        ) as writer:
            for group in _groups(rows):
                columns = [
                    arrow.array([_cell(name, row, in_struct=name in images) for row in group], field.type)
                    for name, field in zip(schema.names, schema, strict=True)
                ]
                writer.write_table(arrow.table(columns, schema=schema), row_group_size=len(group))
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else: the files say all."""

    def _image_columns(self) -> set[str]:
        return {IMAGE, *(column for field, column in self.table.payloads if is_image(field))}

    def _schema(self, arrow: Any) -> Any:
        image = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        columns = [(KEY, arrow.string())]
        features: dict[str, Any] = {}
        images = self._image_columns()
        for name in self.table.payload_columns:
            columns.append((name, image if name in images else arrow.binary()))
            if name in images:
                features[name] = {"_type": "Image"}
        columns += [(name, _arrow_type(arrow, kind)) for name, kind in self.table.types]
        if self.table.classes is not None:
            features["label"] = {"names": list(self.table.classes), "_type": "ClassLabel"}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        return arrow.schema(columns, metadata=metadata)


def _cell(name: str, row: Row, *, in_struct: bool) -> Any:
    if name == KEY:
        return row.key
    if name not in row.payloads:
        return row.values.get(name)
    field, payload = row.payloads[name]
    return {"bytes": payload, "path": f"{row.key}.{field}"} if in_struct else payload


def _groups(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Yield the rows in row groups."""
    group: list[Row] = []
    num_bytes = 0
    for row in rows:
        length = sum(len(payload) for _, payload in row.payloads.values())
        if group and (len(group) == _GROUP_ROWS or num_bytes + length > _GROUP_BYTES):
            yield group
            group, num_bytes = [], 0
        group.append(row)
        num_bytes += length
    if group:
        yield group


def _arrow_type(arrow: Any, kind: LabelType) -> Any:
    if kind.name == "list":
        assert kind.element is not None
        return arrow.list_(_arrow_type(arrow, kind.element))
    if kind.name == "object":
        return arrow.struct([(name, _arrow_type(arrow, one)) for name, one in kind.members])
    return {
        "bool": arrow.bool_(),
        "int": arrow.int64(),
        "long": arrow.int64(),
        "float": arrow.float64(),
        "str": arrow.string(),
        "json": arrow.string(),
    }[kind.name]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError('to="parquet" needs pyarrow; run pip install "shardpack[parquet]"') from error
    return pa, parquet
