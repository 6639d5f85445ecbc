"""Draw a scatter plot as a PNG, with Pillow alone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from shardpack.inspect.label_places import Box, place_labels

WIDTH, HEIGHT = 900, 640
LEFT, RIGHT, TOP, BOTTOM = 96, 24, 44, 60  # margins, in pixels
TICKS = 5  # largest number of steps on an axis
INK, GRID, DOT, LEADER = (40, 40, 40), (225, 225, 225), (31, 90, 180), (150, 170, 200)
FONT_SIZE, LABEL_HEIGHT = 14, 16


def scatter_png(
    x: npt.NDArray[np.int64],
    y: npt.NDArray[np.int64],
    *,
    ends: tuple[int, int],
    labels: tuple[str, str],
    title: str,
    names: Sequence[str] = (),
) -> bytes:
    """Return a PNG with a dot at each (x, y); the origin is at the bottom left.

    Args:
        x, y: (n) integers, 0 <= x < ends[0], 0 <= y < ends[1].
        ends: Values at the ends of the axes.
        labels: Labels of the axes.
        title: Text above the plot.
        names: (n) texts to write near the dots, each joined to its dot by a line; or none.
    """
    from PIL import Image, ImageDraw

    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    for tick in _ticks(ends[0]):
        pixels[TOP : TOP + up, LEFT + tick * across // ends[0]] = GRID
    for tick in _ticks(ends[1]):
        pixels[TOP + up - tick * up // ends[1], LEFT : LEFT + across] = GRID
    column = LEFT + 1 + x * (across - 2) // ends[0]
    row = TOP + up - 2 - y * (up - 1) // ends[1]
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        pixels[row + down, column + right] = DOT
    pixels[TOP : TOP + up + 1, LEFT] = pixels[TOP + up, LEFT : LEFT + across] = INK

    image = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(image), _font()
    for tick in _ticks(ends[0]):
        _write(draw, font, f"{tick:,}", LEFT + tick * across // ends[0], TOP + up + 8)
    for tick in _ticks(ends[1]):
        text = f"{tick:,}"
        draw.text((LEFT - 8 - font.getlength(text), TOP + up - tick * up // ends[1] - 8), text, fill=INK, font=font)
    if names:
        _name_dots(draw, font, names, list(zip(column.tolist(), row.tolist(), strict=True)))
    _write(draw, font, title, WIDTH // 2, 14)
    _write(draw, font, labels[0], LEFT + across // 2, HEIGHT - 26)
    upright = Image.new("RGB", (int(font.getlength(labels[1])) + 2, 20), (255, 255, 255))
    ImageDraw.Draw(upright).text((0, 0), labels[1], fill=INK, font=font)
    upright = upright.transpose(Image.Transpose.ROTATE_90)
    image.paste(upright, (4, TOP + (up - upright.height) // 2))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _name_dots(draw: Any, font: Any, names: Sequence[str], dots: Sequence[tuple[int, int]]) -> None:
    widths = [math.ceil(font.getlength(name)) for name in names]
    area = Box(LEFT + 1, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    places = place_labels(dots, widths, LABEL_HEIGHT, area)
    for dot, place in zip(dots, places, strict=True):
        nearest = place.left - 1 if place.left > dot[0] else place.right
        draw.line((*dot, nearest, (place.top + place.bottom) // 2), fill=LEADER)
    for name, (column, row), place in zip(names, dots, places, strict=True):
        draw.ellipse((column - 2, row - 2, column + 2, row + 2), fill=DOT)
        draw.text((place.left, place.top), name, fill=DOT, font=font)


def _ticks(end: int) -> range:
    """Return round numbers from 0 to `end`, at equal distances."""
    step = 1
    while end > TICKS * step * 10:
        step *= 10
    step *= next(factor for factor in (1, 2, 5, 10) if end <= TICKS * step * factor)
    return range(0, end + 1, step)


def _font() -> Any:
    from PIL import ImageFont

    try:
        return ImageFont.load_default(FONT_SIZE)
    except TypeError:  # Pillow 10.0 has one size only
        return ImageFont.load_default()


def _write(draw: Any, font: Any, text: str, middle: int, top: int) -> None:
    draw.text((middle - font.getlength(text) / 2, top), text, fill=INK, font=font)
