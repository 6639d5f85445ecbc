"""npz: decoded images in one array, for training without decoding and for code that knows NumPy alone.

    OUT/[<split>/]<number>.npz        images (n, height, width[, channels]), keys (n), labels (n), and an array for each
                                      other value of a label

All images must have the same size and kind of pixels; palettes become RGB. Masks and arrays (`npy`) are arrays called
like their fields without the last part.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from shardpack.codecs.decode import decode_field
from shardpack.codecs.field_types import is_image, is_mask, kind_of
from shardpack.errors import DecodeError, ExportError, OptionError
from shardpack.export.exporter import Contents, ExportOptions, Limits, NamedBy, Note, Part
from shardpack.export.staging import ExportFiles
from shardpack.export.table import IMAGE, Row, Table, table_of
from shardpack.read.sample import Sample

_FILE_BYTES = 256 << 20  # of pixels: one file is in memory while it is made
_TYPES = {"int": "<i8", "long": "<i8", "float": "<f8", "bool": "?"}
_NAMES = {IMAGE: "images", "label": "labels"}
_DIRECT = {"L", "RGB", "RGBA", "I;16", "LA", "I", "F"}  # modes of pixels that arrays hold as they are

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class NpzExporter:
    """Writes npz files. `shapes` are (column, shape, dtype) of each array of payloads, without the first axis."""

    takes: ClassVar[frozenset[str]] = frozenset()
    named_by: ClassVar[NamedBy | None] = None
    sequential: ClassVar[bool] = False
    typed: ClassVar[bool] = True
    names_classes: ClassVar[bool] = False

    table: Table
    shapes: tuple[tuple[str, tuple[int, ...], str], ...]
    max_bytes: int

    @classmethod
    def prepare(cls, contents: Contents, options: ExportOptions) -> NpzExporter:
        """Decide about the arrays by the first sample; see `Exporter.prepare`."""
        table = table_of(contents, options)
        for name, kind in table.types:
            if name not in table.always or kind.name not in (*_TYPES, "str") or name in ("images", "keys", "labels"):
                raise OptionError(
                    f"npz holds numbers and texts that all samples have, which {name!r} of the labels is not; "
                    f"leave it out (--drop {name})"
                )
        for field in table.roles.payloads:
            if not is_image(field) and kind_of(field) != "npy":
                raise OptionError(
                    f"npz holds images and arrays, and {field!r} is neither; choose the other fields (--fields)"
                )
        first = next(iter(contents.dataset.select(range(1)).stream(fields=table.roles.fields)))
        try:
            arrays = _arrays(table.row_maker()(first))
        except (DecodeError, ExportError) as error:
            error.key = error.key or first.key
            raise
        missing = set(table.payload_columns) - arrays.keys()
        if missing:
            raise OptionError(
                f"npz needs each payload in all samples; {first.key!r} lacks {', '.join(sorted(missing))}"
            )
        members = ["keys", *(_NAMES.get(name, name) for name in (*arrays, *dict(table.types)))]
        for name in members:
            if members.count(name) > 1:
                raise OptionError(
                    f"npz would hold two arrays {name!r}; choose the other fields (--fields), "
                    "or leave a value out (--drop)"
                )
        shapes = tuple((name, array.shape, array.dtype.str) for name, array in sorted(arrays.items()))
        return cls(table, shapes, options.max_file_bytes or _FILE_BYTES)

    @property
    def fields(self) -> tuple[str, ...]:
        return self.table.roles.fields

    @property
    def limits(self) -> Limits:
        row_bytes = sum(int(np.prod(shape)) * np.dtype(kind).itemsize for _, shape, kind in self.shapes)
        return Limits(max_bytes=1 << 62, max_samples=max(1, self.max_bytes // max(row_bytes, 1)))

    @property
    def sentence(self) -> str:
        arrays = [f"{_NAMES.get(name, name)} ({np.dtype(kind)} of {shape})" for name, shape, kind in self.shapes]
        values = [f"{_NAMES.get(name, name)} ({kind.name})" for name, kind in self.table.types]
        return f"arrays are {', '.join([*arrays, 'keys', *values])}"

    def row_maker(self) -> Callable[[Sample], tuple[Row, Arrays]]:
        """Return the function that decodes a sample."""
        make, shapes = self.table.row_maker(), self.shapes

        def row(sample: Sample) -> tuple[Row, Arrays]:
            made = make(sample)
            arrays = _arrays(made)
            for name, shape, kind in shapes:
                array = arrays.get(name)
                if array is None or array.shape != shape or array.dtype.str != kind:
                    got = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
                    raise ExportError(
                        f"npz stacks equal arrays: expected {name} as {np.dtype(kind)} of shape {shape}, got {got}; "
                        "make images equal first, such as with: shardpack pack DS OUT --resize cover=224x224"
                    )
            return made, arrays

        return row

    def write(self, part: Part, rows: Iterator[tuple[Row, Arrays]], files: ExportFiles) -> Note:
        """Write one file."""
        stacks = {name: np.empty((part.num_samples, *shape), kind) for name, shape, kind in self.shapes}
        keys: list[str] = []
        values: dict[str, list[Any]] = {name: [] for name, _ in self.table.types}
        for row, arrays in rows:
            for name, stack in stacks.items():
                stack[len(keys)] = arrays[name]
            for name, column in values.items():
                column.append(row.values[name])
            keys.append(row.key)
        kinds = dict(self.table.types)
        members = {_NAMES.get(name, name): stack[: len(keys)] for name, stack in stacks.items()}
        members["keys"] = np.array(keys, np.str_)
        for name, column in values.items():
            members[_NAMES.get(name, name)] = np.array(column, _TYPES.get(kinds[name].name, np.str_))
        top = () if part.split is None else (part.split,)
        # np.savez writes the time of day into the file.
        with zipfile.ZipFile(files.create(*top, f"{part.index:05d}.npz"), "w") as archive:
            for name in sorted(members):
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, members[name], allow_pickle=False)
        return {}

    def finish(self, parts: Sequence[Part], notes: Sequence[Note], files: ExportFiles) -> None:
        """Write nothing else."""


def _arrays(row: Row) -> Arrays:
    """Return the decoded payloads of a row."""
    return {column: _array(field, payload) for column, (field, payload) in row.payloads.items()}


def _array(field: str, payload: bytes) -> npt.NDArray[Any]:
    value = decode_field(field, payload)
    if isinstance(value, np.ndarray):
        return value
    return np.asarray(value if value.mode in _DIRECT or is_mask(field) else value.convert("RGB"))
