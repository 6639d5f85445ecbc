"""TFRecord files of tf.train.Example.

    OUT/<split>-00000-of-00004.tfrecord        without splits: train-00000-of-00004.tfrecord

    image/encoded     the image             image/filename   <key>.<field>; __key__ for samples without image
    <column>          any other payload     <name>           each value of a label

Numbers, texts and lists of them are features: integers of 64 bits, truth values among them, fractions of 32 bits. Any
other value is JSON text. What a sample lacks, or what is null, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from shardpack.codecs.label_types import LabelType, json_text
from shardpack.errors import ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.staging import ExportFiles
from shardpack.export.table import IMAGE, KEY, Table, table_of
from shardpack.read.sample import Sample
from shardpack.sources.formats.example import encode_example
from shardpack.sources.formats.tfrecord_file import encode_record

_NO_SPLIT = "train"
_ENCODED, _FILENAME = "image/encoded", "image/filename"
_SCALARS = frozenset({"int", "long", "float", "str", "bool"})


@dataclass(frozen=True, slots=True)
class TfRecordExporter:
    """Writes TFRecord files. `as_text` are the values that are JSON text."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = None
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    names_classes: ClassVar[bool] = False
    limits: ClassVar[Limits] = Limits(max_bytes=256 << 20)

    table: Table
    as_text: tuple[str, ...]

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> TfRecordExporter:
        """Decide about the features; see `Exporter.prepare`."""
        table = table_of(contents, options)
        for name, _ in table.types:
            if name in (_ENCODED, _FILENAME):
                raise OptionError(
                    f"a value of the labels is called {name!r}, like the image; leave it out (--drop {name})"
                )
        return cls(table, tuple(name for name, kind in table.types if not _is_feature(kind)))

    @property
    def fields(self) -> tuple[str, ...]:
        return self.table.roles.fields

    @property
    def sentence(self) -> str:
        return f"a record has {self.table.sentence}"

    def row_maker(self) -> Callable[[Sample], bytes]:
        """Return the function that makes a record of a sample."""
        make, as_text = self.table.row_maker(), frozenset(self.as_text)
        floats = {name: kind.name == "list" for name, kind in self.table.types if _is_fraction(kind)}

        def record(sample: Sample) -> bytes:
            row = make(sample)
            features: dict[str, Any] = {}
            for column, (field, payload) in row.payloads.items():
                if column == IMAGE:
                    features[_FILENAME] = f"{row.key}.{field}"
                features[_ENCODED if column == IMAGE else column] = payload
            if _FILENAME not in features:
                features[KEY] = row.key
            for name, value in row.values.items():
                if value is None:
                    continue
                if name in as_text:
                    features[name] = json_text(value)
                elif isinstance(value, list) and None in value:
                    raise ExportError(
                        f"value {name!r} is a list that holds null, which a feature cannot; "
                        f"leave it out (--drop {name})",
                        key=row.key,
                    )
                elif name in floats:  # one kind of feature in all records, whatever the numbers of this one are
                    features[name] = list(map(float, value)) if floats[name] else float(value)
                else:
                    features[name] = value
            return encode_record(encode_example(features))

        return record

    def write(self, part: Part, rows: Iterator[bytes], files: ExportFiles) -> Note:
        """Write one file."""
        name = f"{part.split or _NO_SPLIT}-{part.index:05d}-of-{part.count:05d}.tfrecord"
        with open(files.create(name), "wb", buffering=1 << 20) as file:
            file.writelines(rows)
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else."""


def _is_feature(kind: LabelType) -> bool:
    """Return whether values of a type are features as they are: scalars, and lists of them without null."""
    return kind.name in _SCALARS or (kind.element is not None and kind.element.name in _SCALARS)


def _is_fraction(kind: LabelType) -> bool:
    return kind.name == "float" or (kind.element is not None and kind.element.name == "float")
