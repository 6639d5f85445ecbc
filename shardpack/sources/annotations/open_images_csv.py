"""Open Images' tables: boxes relative to the size of the image, by the image's ID, and the names of classes.

ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside
000002b66c9c498e,xclick,/m/01g317,1,0.012500,0.195312,0.148438,0.587500,0,1,0,0,0
"""

from __future__ import annotations

import csv
import io
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.label_shape import Object, annotation

_BOX = ("XMin", "XMax", "YMin", "YMax")
_FLAGS = {"IsOccluded": "occluded", "IsTruncated": "truncated", "IsDepiction": "depiction", "IsInside": "inside"}
_GROUP = "IsGroupOf"
_ROW = struct.Struct("<I4d5b")  # class, box, IsGroupOf and the flags; -1 for unknown
_TOLERANCE = 1e-3


@dataclass(slots=True)
class OpenImagesBoxes:
    """The boxes of images, 41 bytes each.

    Attributes:
        of_image: Image ID -> its boxes, packed.
        class_ids: MIDs of the classes, in the order in which they came.
    """

    of_image: dict[str, bytearray] = field(default_factory=dict)
    class_ids: list[str] = field(default_factory=list)
    _number_of: dict[str, int] = field(default_factory=dict)

    def add(self, data: bytes, wanted: Callable[[str], bool]) -> Iterator[tuple[int, str, str]]:
        """Add the boxes of a table; yield (line number, image ID, reason) of malformed lines.

        Args:
            data: The table.
            wanted: Whether an image is there; others are passed over.

        Raises:
            DecodeError: The table is not CSV, or lacks a column.
        """
        try:
            yield from self._add(csv.reader(io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")), wanted)
        except (UnicodeDecodeError, csv.Error) as error:
            raise DecodeError(f"not CSV in UTF-8: {error}") from error

    def _add(self, rows: Iterator[list[str]], wanted: Callable[[str], bool]) -> Iterator[tuple[int, str, str]]:
        header = next(rows, [])
        missing = [name for name in ("ImageID", "LabelName", *_BOX) if name not in header]
        if missing:
            raise DecodeError(f"no column {missing[0]!r}; expected a table of boxes of Open Images")
        image_at, class_at = header.index("ImageID"), header.index("LabelName")
        box_at = [header.index(name) for name in _BOX]
        flags_at = [header.index(name) if name in header else -1 for name in (_GROUP, *_FLAGS)]
        for number, cells in enumerate(rows, start=2):
            if not cells:
                continue
            image_id = cells[image_at] if len(cells) == len(header) else ""
            if not image_id:
                yield number, image_id, f"expected {len(header)} cells, got {len(cells)}; correct the line"
            elif wanted(image_id):
                try:
                    box = [float(cells[at]) for at in box_at]
                    flags = [-1 if at < 0 else int(cells[at]) for at in flags_at]
                except ValueError as error:
                    yield number, image_id, f"{error}; correct the line"
                    continue
                if problem := _problem(box, flags):
                    yield number, image_id, problem
                    continue
                code = self._number_of.setdefault(cells[class_at], len(self.class_ids))
                if code == len(self.class_ids):
                    self.class_ids.append(cells[class_at])
                self.of_image.setdefault(image_id, bytearray()).extend(_ROW.pack(code, *box, *flags))

    def annotations(self, image_id: str, size: ImageSize, names: Mapping[str, str]) -> list[Object]:
        """Return the annotations of an image.

        Args:
            image_id: Its ID.
            size: Its size.
            names: MID -> name of the class; a class without a name is called by its MID.
        """
        return [
            annotation(
                bbox=[
                    left * size.width,
                    top * size.height,
                    (right - left) * size.width,
                    (bottom - top) * size.height,
                ],
                category_id=self.class_ids[code],
                name=names.get(self.class_ids[code], self.class_ids[code]),
                iscrowd=group if group >= 0 else None,
                **{name: flag for name, flag in zip(_FLAGS.values(), flags, strict=True) if flag >= 0},
            )
            for code, left, right, top, bottom, group, *flags in _ROW.iter_unpack(self.of_image.get(image_id, b""))
        ]


def _problem(box: list[float], flags: list[int]) -> str | None:
    if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in box):
        return f"the box {box} is outside 0..1; correct the line"
    if box[0] > box[1] or box[2] > box[3]:
        return f"the box {box} ends before it begins; correct the line"
    return None if all(flag in (-1, 0, 1) for flag in flags) else f"flags {flags}, expected 0, 1 or -1"


def parse_class_descriptions(data: bytes) -> dict[str, str]:
    """Return MID -> name of a table of classes, which has a header line or none, in its order.

    Raises:
        DecodeError: The table is not CSV in UTF-8.
    """
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DecodeError(f"not CSV in UTF-8: {error}") from error
    return {row[0]: row[1] for row in rows if len(row) == 2 and row[0] != "LabelName"}
