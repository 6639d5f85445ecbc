"""YOLO's label files: a line for each object, its class and numbers relative to the width and height of the image.

    0 0.5 0.5 0.2 0.1                        detect: class, centre x and y, width, height
    0 0.1 0.1 0.5 0.1 0.5 0.5                segment: class, x and y of three points or more
    0 0.5 0.5 0.2 0.1 0.4 0.4 2 0.6 0.4 1    pose: a box, then x, y (and v) of as many key points as `kpt_shape` says

A line of eight numbers behind the class is a polygon of four points, as of oriented boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shardpack.codecs.geometry import UPRIGHT
from shardpack.codecs.image_size import ImageSize
from shardpack.errors import DecodeError
from shardpack.sources.label_shape import Object, annotation, label

TOLERANCE = 1e-3  # by which a number may be outside 0..1: writers round
_BOX = 5  # numbers of a line with a box
_TURNED = (
    "the image has EXIF orientation {}, and YOLO does not say whether its numbers are for the pixels as they are "
    "stored or as they are shown; store the image upright"
)


@dataclass(frozen=True, slots=True)
class YoloParser:
    """Makes the label of an image from its label file.

    Attributes:
        names: Class number -> its name; None if the set has no list of names.
        numbers: Class number -> its number among the classes of the dataset, which has no gaps; None where they are
            the same.
        keypoints: (number of key points, 2 or 3 numbers each), or None.
    """

    names: dict[int, str] | None = None
    numbers: dict[int, int] | None = None
    keypoints: tuple[int, int] | None = None

    def __call__(self, data: bytes | None, size: ImageSize | None) -> Object:
        """Return the label; without a file, one that says that nothing is in the image.

        Raises:
            DecodeError: A line is malformed, or names an unknown class; or the image is not upright.
        """
        assert size is not None
        lines = [] if data is None else self.lines(data)
        if lines and size.orientation != UPRIGHT:
            raise DecodeError(_TURNED.format(size.orientation))
        return label(size.width, size.height, [self._annotation(line, size) for line in lines])

    def lines(self, data: bytes) -> list[list[float]]:
        """Return the numbers of each line that is not blank, checked.

        Raises:
            DecodeError: A line is malformed, or names an unknown class.
        """
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DecodeError(f"not text at byte {error.start}; expected lines of numbers") from error
        found = []
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                try:
                    numbers = [float(word) for word in line.split()]
                except ValueError:
                    raise DecodeError(f"line {number}: expected numbers, got {line[:60]!r}") from None
                if problem := self._problem(numbers):
                    raise DecodeError(f"line {number}: {problem}")
                found.append(numbers)
        return found

    def _problem(self, numbers: Sequence[float]) -> str | None:
        class_number, rest = numbers[0], numbers[1:]
        if not class_number.is_integer() or class_number < 0:
            return f"expected the number of a class, got {class_number:g}"
        if self.names is not None and int(class_number) not in self.names:
            return f"class {class_number:g} is not among the {len(self.names)} of the set; correct the line or the list"
        if problem := self._count_problem(len(numbers)):
            return problem
        step = self.keypoints[1] if self.keypoints is not None else 2
        shares = rest if step == 2 else [*rest[:4], *(v for i, v in enumerate(rest[4:]) if i % step < 2)]
        outside = next((value for value in shares if not -TOLERANCE <= value <= 1 + TOLERANCE), None)
        if outside is not None:
            return f"{outside:g} is outside 0..1; positions are shares of the width and height"
        seen = rest[6::3] if step == 3 else ()
        unknown = next((value for value in seen if value not in (0, 1, 2)), None)
        return None if unknown is None else f"a key point has the visibility {unknown:g}, expected 0, 1 or 2"

    def _count_problem(self, count: int) -> str | None:
        if self.keypoints is not None:
            expected = _BOX + self.keypoints[0] * self.keypoints[1]
            return None if count == expected else f"expected {expected} numbers, as kpt_shape says, got {count}"
        if count == _BOX or (count >= 7 and count % 2):
            return None
        return (
            f"expected {_BOX} numbers (a box), or a class and x, y of three points or more (a polygon), got {count}"
            "; key points need kpt_shape in data.yaml"
        )

    def _annotation(self, numbers: Sequence[float], size: ImageSize) -> Object:
        class_number, shares = int(numbers[0]), numbers[1:]
        name = None if self.names is None else self.names[class_number]
        number = class_number if self.numbers is None else self.numbers[class_number]
        if self.keypoints is None and len(numbers) > _BOX:
            polygon = _scaled(shares, size)
            return annotation(category_id=class_number, number=number, name=name, segmentation=[polygon])
        x, y, w, h = (min(max(share, 0.0), 1.0) for share in shares[:4])
        return annotation(
            bbox=[(x - w / 2) * size.width, (y - h / 2) * size.height, w * size.width, h * size.height],
            category_id=class_number,
            number=number,
            name=name,
            keypoints=None if self.keypoints is None else self._points(shares[4:], size),
        )

    def _points(self, shares: Sequence[float], size: ImageSize) -> list[float]:
        assert self.keypoints is not None
        step = self.keypoints[1]
        result: list[float] = []
        for at in range(0, len(shares), step):
            x, y = shares[at : at + 2]
            # Without a visibility of its own, a point at 0, 0 is one that was not labelled.
            seen = int(shares[at + 2]) if step == 3 else 2 * ((x, y) != (0, 0))
            result += [*_scaled((x, y), size), seen] if seen else [0, 0, 0]
        return result


def _scaled(shares: Sequence[float], size: ImageSize) -> list[float]:
    sides = (size.width, size.height)
    return [min(max(share, 0.0), 1.0) * sides[i % 2] for i, share in enumerate(shares)]
