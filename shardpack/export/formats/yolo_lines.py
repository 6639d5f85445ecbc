"""Annotations in pixels as lines of YOLO, in shares of the width and height. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shardpack.errors import ExportError
from shardpack.export.pixel_labels import are_numbers, box_of, polygons_of, short

TASKS = ("detect", "segment", "pose")
_TOLERANCE = 1.0  # pixels that a position may be outside, and is moved to the border


class YoloLines:
    """The lines of one image.

    Attributes:
        num_keypoints: How many key points each annotation has; None without any.
    """

    def __init__(self, task: str, width: int, height: int) -> None:
        self._task, self._width, self._height = task, width, height
        self._lines: list[str] = []
        self.num_keypoints: int | None = None

    def add(self, number: int, annotation: Mapping[str, Any]) -> None:
        """Add the line of an annotation of a class.

        Raises:
            ExportError: The line cannot hold it, or it is outside the image.
        """
        if annotation.get("iscrowd"):
            raise ExportError("an annotation is a crowd, which yolo cannot hold; leave crowds out (--drop crowd)")
        shares = self._polygon(annotation) if self._task == "segment" else self._box(annotation)
        if self._task == "pose":
            shares += self._points(annotation)
        self._lines.append(" ".join([str(number), *(f"{share:.10g}" for share in shares)]))

    def text(self) -> str:
        """Return the content of the label file."""
        return "".join(f"{line}\n" for line in self._lines)

    def _box(self, annotation: Mapping[str, Any]) -> list[float]:
        box = box_of(annotation)
        if box is None:
            raise ExportError("an annotation has no box; correct the label, or leave the sample out")
        x, y, w, h = box
        left, top, right, bottom = self._inside([x, y, x + w, y + h])
        width, height = self._width, self._height
        return [
            (left + right) / 2 / width,
            (top + bottom) / 2 / height,
            (right - left) / width,
            (bottom - top) / height,
        ]

    def _polygon(self, annotation: Mapping[str, Any]) -> list[float]:
        polygons = polygons_of(annotation)
        if polygons is None:
            raise ExportError(
                "an annotation has no polygon, which segments need; export boxes with task='detect' (--task)"
            )
        points = [self._inside(polygon) for polygon in polygons]
        if len(points) > 1:
            points = [joined(points)]
        return [value / (self._height if at % 2 else self._width) for at, value in enumerate(points[0])]

    def _points(self, annotation: Mapping[str, Any]) -> list[float]:
        points = annotation.get("keypoints")
        if not are_numbers(points) or not points or len(points) % 3:
            raise ExportError(f"keypoints are {short(points)}, expected x, y and v of each; correct the label")
        count = len(points) // 3
        if self.num_keypoints not in (None, count):
            raise ExportError(f"yolo needs as many key points in each annotation; got {self.num_keypoints} and {count}")
        self.num_keypoints = count
        shares: list[float] = []
        for at in range(0, len(points), 3):
            x, y, seen = points[at : at + 3]
            if not seen:
                shares += [0, 0, 0]
                continue
            across, down = self._inside([x, y])
            shares += [across / self._width, down / self._height, seen]
        return shares

    def _inside(self, values: Sequence[float]) -> list[float]:
        """Return positions x, y, ... within the image."""
        sides = (self._width, self._height)
        inside = [min(max(value, 0), sides[at % 2]) for at, value in enumerate(values)]
        # NaN compares false with all.
        if not all(abs(one - other) <= _TOLERANCE for one, other in zip(inside, values, strict=True)):
            raise ExportError(
                f"{short(list(values))} is outside the image of {self._width} x {self._height} pixels; correct the "
                "label, or leave the sample out"
            )
        return inside


def joined(polygons: Sequence[Sequence[float]]) -> list[float]:
    """Return one polygon that covers several: their outlines one after another, each closed, joined by lines and back.

    The lines run to and fro between the first points, so that they cover nothing.
    """
    whole: list[float] = []
    for polygon in polygons:
        whole += [*polygon, *polygon[:2]]
    for polygon in reversed(polygons[:-1]):
        whole += polygon[:2]
    return whole
